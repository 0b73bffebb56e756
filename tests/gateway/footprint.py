"""Measures a node's cost per connection in three processes: clients, a gateway, a holder.

Run as `python -m tests.gateway.footprint DIRECTORY CONNECTIONS`; prints one JSON object.
"""

import asyncio
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import uvloop
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings, GatewaySettings
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.handover import Parcel, Receiver
from doorstep.gateway.port import PublicPort
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.websocket import SocketLimits, WebSocket
from tests.gateway.wire import SECRET, TEXT, frame, token, upgrade

WARM_UP = 200
AT_ONCE = 50


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """Memory of this process, without garbage."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Meter:
    """CPU and memory of this process between two marks."""

    def __init__(self) -> None:
        self._cpu, self._memory = cpu_s(), resident_bytes()

    def per_connection(self, connections: int) -> dict[str, float]:
        """What one of so many has cost since then."""
        return {
            "cpu_us": (cpu_s() - self._cpu) / connections * 1e6,
            "bytes": (resident_bytes() - self._memory) / connections,
        }


class Silent:
    """Owns a socket and does nothing: only the connection itself is measured."""

    __slots__ = ("socket",)

    def __init__(self, limits: SocketLimits) -> None:
        self.socket = WebSocket(self, limits, Traffic())

    def on_text(self, data: bytes) -> None: ...

    def on_blocked(self) -> None: ...

    def on_drained(self) -> None: ...

    def on_closed(self) -> None: ...


async def hold(path: Path, connections: int) -> None:
    """The holder: takes everyone in, and tells what that cost."""
    limits = SocketLimits()
    owners: list[Silent] = []
    tasks: set[asyncio.Task[None]] = set()

    async def open_one(sock: socket.socket, parcel: Parcel) -> None:
        owner = Silent(limits)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, sock)
        owner.socket.accept(parcel.answer, parcel.early)
        owners.append(owner)

    def take(sock: socket.socket, parcel: Parcel) -> None:
        task = asyncio.create_task(open_one(sock, parcel))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    receiver = Receiver(path, take)
    await receiver.start()
    meter = await _measured(lambda: len(owners), WARM_UP)
    await _reached(lambda: len(owners), WARM_UP + connections)
    print(json.dumps({"holder": meter.per_connection(connections)}), flush=True)
    await asyncio.Event().wait()


async def guard(directory: Path, connections: int) -> None:
    """The gateway: starts the others, and tells what a connection cost it."""
    path = directory / "holder"
    seen = 0

    def holders_of(_user_id: str) -> list[Path]:
        nonlocal seen
        seen += 1
        return [path]

    auth = AuthSettings(hs256_secret=SecretStr(SECRET))
    port = PublicPort(GatewaySettings(port=0), Authenticator(auth), holders_of, {})
    number = await port.start()
    with _role("holder", str(path), str(connections)) as holder:
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        with _role("clients", str(number), str(connections)) as clients:
            meter = await _measured(lambda: seen, WARM_UP)
            await _reached(lambda: seen, WARM_UP + connections)
            cost = {"gateway": meter.per_connection(connections)}
            told = await asyncio.to_thread(_line, holder.stdout)
            print(json.dumps(cost | json.loads(told)), flush=True)
            clients.kill()
        holder.kill()


def visit(port: int, connections: int) -> None:
    """The clients: connect some at a time, say one word each, and stay."""
    head = upgrade(
        "/v1/ws?cursor=12-0123456789abcdef",
        f"Origin: http://127.0.0.1:{port}",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0",
        "Accept-Encoding: gzip, deflate, br",
        "Accept-Language: en-US,en;q=0.9",
        "Cache-Control: no-cache",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        f"Sec-WebSocket-Protocol: doorstep.v1, bearer.{token(iss='https://idp.test', iat=time.time())}",
        host=f"127.0.0.1:{port}",
    )
    staying: list[socket.socket] = []
    for count in (WARM_UP, connections):
        for _ in range(0, count, AT_ONCE):
            staying += _visit_at_once(port, head)
        time.sleep(0.5)
    time.sleep(600)


def _visit_at_once(port: int, head: bytes) -> list[socket.socket]:
    visitors = [socket.create_connection(("127.0.0.1", port)) for _ in range(AT_ONCE)]
    for visitor in visitors:
        visitor.sendall(head)
    for visitor in visitors:
        assert visitor.recv(1000).startswith(b"HTTP/1.1 101 ")
        visitor.sendall(frame(TEXT, b'{"op":"ping"}'))
    return visitors


def _role(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.footprint", *arguments], stdout=subprocess.PIPE, text=True
    )


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


async def _measured(count: Callable[[], int], number: int) -> Meter:
    await _reached(count, number)
    await asyncio.sleep(0.1)
    return Meter()


async def _reached(count: Callable[[], int], number: int) -> None:
    while count() < number:  # noqa: ASYNC110 - what counts is not to be slowed by telling
        await asyncio.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Play the role that the first argument names; by default the gateway's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    match arguments:
        case ["holder", path, connections]:
            uvloop.run(hold(Path(path), int(connections)))
        case ["clients", port, connections]:
            visit(int(port), int(connections))
        case [directory, connections]:
            uvloop.run(guard(Path(directory), int(connections)))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
