"""What a worker computes: gradients, the optimizer's step, snapshots, and the checks that keep a script deterministic.

Not here: connections, and everything that involves several workers (`worker/`).
"""
