"""Who a process of a run is: certificates of the run's one authority, and the folders that they are kept in.

Not here: TLS itself, which the services and the native module speak.
"""
