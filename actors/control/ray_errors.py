"""What goes wrong with Ray as a whole."""


class RayLostError(Exception):
    """Ray is gone, and with it whoever restarts an actor; the message says what of it."""
