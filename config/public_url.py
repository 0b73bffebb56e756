"""Where clients find Doorstep, as an operator says it. Pure."""

import re

NODE = "{node}"
"""Stands for the public name of a node."""

_HOST = r"[0-9A-Za-z](?:[0-9A-Za-z.-]{0,251}[0-9A-Za-z])?|\[[0-9A-Fa-f:.]+\]"
_URL = re.compile(rf"wss?://(?:{_HOST})(?::([0-9]{{1,5}}))?(?:/[0-9A-Za-z._~-]+)*/?")
_MAX_PORT = 65535
_EXAMPLES = "wss://push.example.org, or wss://{node}.push.example.org"


def checked_public_url(text: str) -> str:
    """The address without a slash at its end. Raises `ValueError` for what is none, or has `{node}` twice."""
    if text.count(NODE) > 1:
        raise ValueError(f"{NODE} may be there once, as in {_EXAMPLES}")
    match = _URL.fullmatch(text.replace(NODE, "node"))
    if match is None or int(match[1] or 0) > _MAX_PORT:
        raise ValueError(f"write ws:// or wss://, a host, and maybe a port and a path, as in {_EXAMPLES}")
    if text.rstrip("/").endswith("/v1/ws"):
        raise ValueError(f"leave /v1/ws off, as in {_EXAMPLES}: it is added")
    return text.rstrip("/")
