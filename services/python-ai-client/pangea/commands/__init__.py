"""The command `pangea`: options, and what people see."""
