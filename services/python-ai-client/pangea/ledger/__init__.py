"""Reads and audits the ledger of a run.

An implementation apart from the orchestrator's, so that each checks the other. It imports nothing of Pangea but its errors.
"""
