"""How a client talks to one kind of server: what differs between Doorstep, the peer and the naive way."""

import base64
import os
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class Notice(Enum):
    """What a message of the server that carries no event means to a client."""

    LIVE = auto()
    """The client is subscribed: what is published from now on will come."""
    PING = auto()
    """To be answered with `Dialect.pong`."""
    RESET = auto()
    """The client is subscribed, but the server could not resume from its position: something is missing."""
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who connects, and from where she goes on."""

    user_id: str
    token: str
    position: str = ""
    """What `Dialect.position` said when she was last connected; empty: from now on."""


class Dialect(Protocol):
    """Frozen and picklable: it is sent to the client processes."""

    def request(self, identity: Identity) -> bytes:
        """Bytes that open the connection: an HTTP request that upgrades to WebSocket."""

    def greeting(self, identity: Identity) -> bytes:
        """The text message to send first after the 101; empty: none."""

    def notice(self, message: bytes) -> Notice:
        """What a message without an event means."""

    def pong(self) -> bytes:
        """The text message that answers a `Notice.PING`."""

    def position(self, identity: Identity, message: bytes) -> str:
        """The position after `message`, which was `LIVE`, `RESET` or carried an event; `identity` has the
        position before it."""


def upgrade_request(path: str, port: int, *headers: str) -> bytes:
    """An HTTP request for a WebSocket at `path`, with more `headers` ("Name: value")."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
