"""The run directory: its layout, and the files that several processes read or write.

Not here: the ledger (`ledger/`).
"""
