"""Carrying out a plan: phases, units, the pass over batches, the ledger and its checks."""
