"""Whether the ports that `serve` is to listen at are free."""

import contextlib
import errno
import socket
from collections.abc import Iterator

from doorstep.actors.runtime.port_remedies import remedy_of
from doorstep.config.settings import Settings

_SAME = "both ports are the same: choose another for one of them"


def port_faults(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Each of our addresses, and why nobody can listen there now, with what to do; None where somebody can.

    The second is tried while the first is taken, so that one port for both is a fault of the second.
    """
    with contextlib.ExitStack() as listeners:
        for section, where in (("GATEWAY", settings.gateway), ("ADMIN", settings.admin)):
            name = f"DOORSTEP_{section}__HOST, DOORSTEP_{section}__PORT"
            error = _error(where.host, where.port, listeners)
            yield f"{name}: {where.host}:{where.port}", None if error is None else _told(error, settings)


def _told(error: OSError, settings: Settings) -> str:
    is_same = error.errno == errno.EADDRINUSE and settings.gateway.port == settings.admin.port
    remedy = _SAME if is_same else remedy_of(error) or "correct the host or the port"
    reason = str(error.strerror).partition(" (")[0]  # the rest repeats the address
    return f"can't listen there: {reason}: {remedy}"


def _error(host: str, port: int, listeners: contextlib.ExitStack) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listeners.enter_context(socket.create_server((host, port), family=family))
    except OSError as error:
        return error
    return None
