"""The device that a model computes on: copies to and from it, its settings, and what it is called."""
