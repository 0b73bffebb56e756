"""The lower end of the pipe between the conductor of a benchmark and a generator process."""

import ctypes
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from doorstep.benchmarks.orders import Answer, Failed, Order

_PR_SET_PDEATHSIG = 1


def open_pipe(fd: int) -> Connection:
    """The pipe that `Worker` left at this file descriptor. From now on the process dies with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return Connection(fd)


def obey(pipe: Connection, act: Callable[[Order], Answer]) -> None:
    """Take the next order from the pipe, and answer it. Ends the process when the pipe has ended."""
    try:
        order: Order = pipe.recv()
    except EOFError:
        sys.exit(0)
    try:
        answer: Answer | Failed = act(order)
    except Exception as error:  # whatever it is, the conductor has to know
        answer = Failed(f"{type(order).__name__}: {type(error).__name__}: {error}")
    pipe.send(answer)
