"""What helps where nobody can listen at an address."""

import errno
import socket
from collections.abc import Mapping

_NO_NAME = "this name has no address: correct the host"
_REMEDIES: Mapping[int | None, str] = {
    socket.EAI_NONAME: _NO_NAME,
    socket.EAI_AGAIN: _NO_NAME,
    errno.EADDRNOTAVAIL: "this machine has no such address: take one that it has, or 0.0.0.0 for all of them",
    errno.EADDRINUSE: "end what listens there (a Doorstep that runs?), or choose another port",
    errno.EACCES: "only root may have this port: choose another",
}


def remedy_of(error: OSError) -> str:
    """What to do about it; empty where nothing is known."""
    return _REMEDIES.get(error.errno, "")
