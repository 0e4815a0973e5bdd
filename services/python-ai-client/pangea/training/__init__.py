"""What a worker computes: gradients, the optimizer's step, snapshots of a state, and how a script is kept to the same bits.

Not here: connections, and whatever knows a run of several workers (`worker/`).
"""
