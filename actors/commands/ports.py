"""Whether the ports that `serve` is to listen at are free."""

import socket
from collections.abc import Iterator

from doorstep.config.settings import Settings


def port_faults(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Each of our addresses, and why nobody can listen there now; None where somebody can."""
    for section, where in (("GATEWAY", settings.gateway), ("ADMIN", settings.admin)):
        name = f"DOORSTEP_{section}__HOST, DOORSTEP_{section}__PORT"
        yield f"{name}: {where.host}:{where.port}", _fault(where.host, where.port)


def _fault(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return f"can't listen there: {error.strerror}"
    return None
