"""A run whose processes are killed at random, and what is measured meanwhile."""
