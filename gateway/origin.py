"""Which web pages may connect: the check against cross-site WebSocket hijacking (RFC 6455, 10.2). Pure."""

import re
from collections.abc import Sequence

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_WEB_ORIGIN = re.compile(r"(https?)://((?:\[[0-9a-f:.]+\]|[^][:/?#@\s]+)(?::[0-9]+)?)")


class OriginPolicy:
    """Decides by the Origin header. Without an allow-list, pages of the same host may connect.

    `allowed` holds origins such as `https://app.example.org`, or `*` for any. No Origin, no page: allowed.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._any = "*" in allowed
        self._allowed = frozenset(_normal(origin) for origin in allowed if origin != "*")

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may use this server, which it called by the name `host`."""
        if origin is None or self._any:
            return True
        if self._allowed:
            return _normal(origin) in self._allowed
        return host is not None and _same_host(origin, host)


def _normal(origin: str) -> str:
    return origin.lower().rstrip("/")


def _same_host(origin: str, host: str) -> bool:
    match = _WEB_ORIGIN.fullmatch(origin.lower())
    if match is None:
        return False
    default_port = _DEFAULT_PORTS[match[1]]
    return match[2].removesuffix(default_port) == host.lower().removesuffix(default_port)


def cors_headers(origin: str | None) -> dict[str, str]:
    """What lets a page of that (already allowed) origin read the answer; nothing without one."""
    if origin is None:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, traceparent",
    "Access-Control-Max-Age": "600",
}
"""What a page may do with what it fetches here (Fetch standard, CORS preflight)."""
