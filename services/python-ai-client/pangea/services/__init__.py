"""Child processes: starts, supervises and stops the services and workers of a run.

Not here: what a whole run consists of (`launch/`).
"""
