"""Ports for servers that begin to listen later, or stop and start again on the same port."""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

_FIRST, _LAST = 20_000, 31_999
"""Below the range from which systems take the ports of outgoing connections: while a server is stopped, a
client that retries must not be given the server's port as its own (it would connect to itself and keep the
port). Above the range that Ray gives to its workers."""

_given: set[int] = set()


def free_port() -> int:
    """A loopback TCP port nobody listens on, and nobody else of this user is given while this process lives:
    between the choice of a port and its use, another process would find it free, too."""
    for port in random.sample(range(_FIRST, _LAST + 1), k=200):
        if port not in _given and _is_free(port) and _claim(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port found between {_FIRST} and {_LAST}")


def is_open(port: int) -> bool:
    """Whether something on loopback accepts connections at this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@cache
def _claims() -> int:
    """A descriptor of a file of which each byte stands for a port: who was given it has that byte locked. The
    kernel forgets a process's locks when it ends."""
    path = Path(tempfile.gettempdir()) / f"doorstep-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _claim(port: int) -> bool:
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
