"""Fault injection: kills the processes of a run at random, measures the recovery, and compares the result with a
reference run."""
