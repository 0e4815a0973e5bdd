"""The command `pangea`: its subcommands, their options, and all output for users."""
