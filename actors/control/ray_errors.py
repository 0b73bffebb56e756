"""What goes wrong with Ray as a whole."""


class RayAwayError(Exception):
    """Nobody listens where Ray is to be; the message says why, and what to do."""


class RayLostError(Exception):
    """Ray is gone, and with it whoever restarts an actor; the message says what of it."""
