"""Python's garbage collector, for a process that makes many short-lived objects and hardly any cycles."""

import gc

_YOUNG, _MIDDLE, _OLD = 100_000, 10, 10


def collect_rarely() -> None:
    """Leave alone what is there already, and look at new objects in larger lots.

    For the whole process, so only an actor that has it for itself should call this. Measured: a fifth of the
    processor time of a consumer at full speed, and of a holder that takes connections. The lots are larger
    than what is under way at any time, so that a steady flow sets off nothing at all: to look at
    so many objects takes 10 to 20 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
