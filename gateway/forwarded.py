"""Where a client finds this server, by what the proxies in between say of its request. Pure."""

import re

from doorstep.gateway.head import Head, HeadError, is_host
from doorstep.gateway.paths import WS_PATH

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_PREFIX = re.compile(r"(?:/[0-9A-Za-z._~-]+)*/?")


def socket_url(head: Head) -> str:
    """The address of the WebSocket for whoever sent this request.

    `X-Forwarded-Proto`, `-Host` and `-Prefix` count where they are set; of a list, the first: each proxy adds
    itself at the end, so that is the one nearest to the client. Raises `HeadError` (400) for no address.
    """
    secure = _SECURE.get((_first(head, "x-forwarded-proto") or "http").lower())
    host = _first(head, "x-forwarded-host") or head.get("host") or ""
    prefix = _first(head, "x-forwarded-prefix") or ""
    if secure is None or not is_host(host) or not _PREFIX.fullmatch(prefix):
        raise HeadError(400, "malformed_forwarded", "Host or X-Forwarded-… make no address")
    return f"{'wss' if secure else 'ws'}://{host}{prefix.rstrip('/')}{WS_PATH}"


def _first(head: Head, name: str) -> str | None:
    return next(iter(head.items_of(name)), None)
