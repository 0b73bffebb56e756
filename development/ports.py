"""Ports for servers that a test stops and starts again on the same port."""

import random
import socket

_FIRST, _LAST = 20_000, 31_999
"""Below the range from which systems take the ports of outgoing connections: while a server is stopped, a
client that retries must not be given the server's port as its own (it would connect to itself and keep the
port). Above the range that Ray gives to its workers."""

_given: set[int] = set()


def free_port() -> int:
    """A loopback TCP port nobody listens on, never given twice in one run."""
    for port in random.sample(range(_FIRST, _LAST + 1), k=200):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port found between {_FIRST} and {_LAST}")


def is_open(port: int) -> bool:
    """Whether something on loopback accepts connections at this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
