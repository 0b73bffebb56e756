"""Which actors there are to be, and where. Pure."""
