"""Starts the services as children of this process and keeps them alive."""
