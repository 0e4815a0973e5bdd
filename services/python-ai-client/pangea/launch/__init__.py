"""A whole run: its options, and the backends that start its processes: local, ssh, Kubernetes and Ray."""
