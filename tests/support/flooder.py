"""A hostile client in its own process: one socket, as many frames as the wire takes, and again when closed.

Run as `python -m tests.support.flooder PORT TOKEN SECONDS`; prints how many bytes it sent on how many
connections. It reads what it is sent, so that nobody can call it slow.
"""

import contextlib
import socket
import sys
import threading
import time

from tests.gateway.wire import CONT, PING, PONG, TEXT, frame, upgrade

FLOODS = (
    frame(PING) * 10_000,
    frame(PONG) * 10_000,
    frame(TEXT, b'{"op":"ping"}') * 10_000,
    frame(TEXT, fin=False) + frame(CONT, b"x", fin=False) * 10_000,
)


def flood(port: int, token: str, until: float) -> tuple[int, int]:
    """Bytes sent, connections."""
    sent = connections = 0
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(upgrade("/v1/ws", f"Authorization: Bearer {token}"))
            data = FLOODS[connections % len(FLOODS)]
            connections += 1
            threading.Thread(target=_swallow, args=(sock,), daemon=True).start()
            while time.monotonic() < until:
                sock.sendall(data)
                sent += len(data)
    return sent, connections


def _swallow(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 20):
            pass


if __name__ == "__main__":
    _, port, token, seconds = sys.argv
    print(*flood(int(port), token, time.monotonic() + float(seconds)), flush=True)
