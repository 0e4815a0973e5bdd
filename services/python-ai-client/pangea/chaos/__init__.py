"""Fault injection: kills processes of a run at random, measures the recovery, and compares with a reference run."""
