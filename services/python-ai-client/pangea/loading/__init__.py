"""The script's own dataset: its identity, which samples a batch holds, and how they are loaded and hashed."""
