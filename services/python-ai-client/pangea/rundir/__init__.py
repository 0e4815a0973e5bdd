"""The directory of a run: where its files lie, and those that several processes write or read.

Not here: the ledger, which has a room of its own.
"""
