"""Reads and audits the ledger of a run.

The implementation is independent of the orchestrator's, so that each checks the other: it imports nothing of Pangea but
`pangea.errors` and the limits in `pangea.contract`, which are generated from the schema.
"""
