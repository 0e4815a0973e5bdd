"""A worker of a run: `pangea.join`, the loop over batches, and the communication with the services."""
