"""Which actors are wanted, and where. Pure."""
