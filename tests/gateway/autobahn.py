"""Autobahn's cases without compression, 247 of conformance and 54 of limits, against our WebSocket.

`make autobahn` runs `python -m tests.gateway.autobahn COMMAND…`, where the command is Autobahn's `wstest`.
The server echoes, binary messages too, which Doorstep itself refuses; its limits make room for 16 MiB.
"""

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop

from doorstep.gateway.frames import BINARY, Message, text_frame
from doorstep.gateway.head import parse_head
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.upgrade import SUBPROTOCOL, switching_protocols
from doorstep.gateway.websocket import SocketLimits, WebSocket

CASES = 247 + 54
PASSED = frozenset({"OK", "INFORMATIONAL", "NON-STRICT"})
LIMITS = SocketLimits(max_frame_bytes=32 << 20, max_frames_per_s=1e9, write_buffer_bytes=64 << 20)
REPORTS = Path("build/autobahn/reports")
SPECIFICATION = REPORTS / "specification.json"
_OFFER = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
"""Autobahn offers none, and would not take one."""


class Echo(WebSocket):
    """Sends back what comes, as what it came."""

    def __init__(self) -> None:
        super().__init__(self, LIMITS, Traffic())

    def on_text(self, data: bytes) -> None: ...

    def on_blocked(self) -> None: ...

    def on_drained(self) -> None: ...

    def on_closed(self) -> None: ...

    def _take_message(self, message: Message) -> None:
        frame = text_frame(bytes(message.data))
        self.send(bytes([0x80 | BINARY]) + frame[1:] if message.opcode == BINARY else frame)


async def serve(listener: socket.socket) -> None:
    """Accept until cancelled."""
    while True:
        sock, _ = await asyncio.get_running_loop().sock_accept(listener)
        await open_one(sock)


async def open_one(sock: socket.socket) -> None:
    """Answer the handshake as if our subprotocol had been offered, and echo."""
    loop = asyncio.get_running_loop()
    data = await loop.sock_recv(sock, 65536)
    head = parse_head(data.replace(b"\r\n\r\n", b"\r\n" + _OFFER.encode() + b"\r\n", 1))
    assert head is not None
    echo = Echo()
    await loop.connect_accepted_socket(lambda: echo, sock)
    echo.accept(switching_protocols(head).replace(_OFFER, ""), data.partition(b"\r\n\r\n")[2])


def specification(port: int) -> str:
    """What Autobahn is to do: all but compression (12, 13)."""
    server = {"agent": "doorstep", "url": f"ws://127.0.0.1:{port}"}
    cases = {"cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
    return json.dumps({"outdir": str(REPORTS), "servers": [server], **cases})


async def play(listener: socket.socket, command: Sequence[str]) -> None:
    """Serve for as long as Autobahn runs."""
    serving = asyncio.create_task(serve(listener))
    run = await asyncio.create_subprocess_exec(*command, "-m", "fuzzingclient", "-s", str(SPECIFICATION))
    await run.wait()
    serving.cancel()


def main(command: Sequence[str]) -> int:
    """Run all cases; 0 if each passed."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        SPECIFICATION.write_text(specification(listener.getsockname()[1]))
        uvloop.run(play(listener, command))
    return judge(json.loads((REPORTS / "index.json").read_text())["doorstep"])


def judge(results: dict[str, dict[str, str]]) -> int:
    """Print what came out; 0 if each case passed, in its behaviour and in how it closed."""
    wrong = {
        case: result
        for case, result in results.items()
        if not {result["behavior"], result["behaviorClose"]} <= PASSED
    }
    print(dict(Counter(result["behavior"] for result in results.values())))
    for case, result in wrong.items():
        print(f"case {case}: {result}")
    if len(results) != CASES:
        print(f"{len(results)} cases ran, not {CASES}")
    return int(bool(wrong) or len(results) != CASES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
