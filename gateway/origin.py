"""Which web pages may connect: the check against cross-site WebSocket hijacking (RFC 6455, 10.2). Pure."""

import re
from collections.abc import Sequence

from doorstep.config.origins import ANY, BELOW, DEFAULT_PORTS

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://((?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]+)?)")


class OriginPolicy:
    """Decides by the Origin header. Without an allow-list, pages of the same host may connect.

    `allowed` holds canonical origins (`config.origins`). No Origin, no page: allowed.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._any = ANY in allowed
        self._allowed = frozenset(allowed)
        self._below = [origin.split(BELOW) for origin in allowed if BELOW in origin]

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may use this server, which it called by the name `host`."""
        if origin is None or self._any:
            return True
        match = _ORIGIN.fullmatch(origin.lower())
        if match is None:
            return False
        scheme, authority = match[1], _without_default_port(match[1], match[2])
        if self._allowed:
            return f"{scheme}://{authority}" in self._allowed or self._is_below(scheme, authority)
        return (
            scheme in DEFAULT_PORTS
            and host is not None
            and authority == _without_default_port(scheme, host.lower())
        )

    def _is_below(self, scheme: str, authority: str) -> bool:
        return any(scheme == own and authority.endswith(f".{parent}") for own, parent in self._below)


def _without_default_port(scheme: str, authority: str) -> str:
    return authority.removesuffix(DEFAULT_PORTS.get(scheme, ""))


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
