"""A whole run: its options, and who starts its processes: this machine, ssh, Kubernetes or Ray."""
