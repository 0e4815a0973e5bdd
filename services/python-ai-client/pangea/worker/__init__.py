"""A worker of a run: `pangea.join`, the loop over batches, and what it says to the services."""
