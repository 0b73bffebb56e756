"""A holder of nothing but its receiver, in its own process: greets each socket with its user's name.

Run as `python -m tests.gateway.receiver_process PATH [MODE]`. Mode `dies` kills itself when it has a socket
and has not said so yet. SIGUSR1 takes away its free descriptors, the next one gives them back.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from doorstep.gateway.handover import Parcel, Receiver

_kept: list[socket.socket] = []


def greet(sock: socket.socket, parcel: Parcel) -> None:
    """Writes after its return only, as a receiver must."""
    _kept.append(sock)
    asyncio.get_running_loop().call_soon(sock.send, f"hello {parcel.user_id}\n".encode())


def die(_sock: socket.socket, _parcel: Parcel) -> None:
    """Dies before the sender is told."""
    os.kill(os.getpid(), signal.SIGKILL)


class Limit:
    """The number of open files that are allowed, as it was or as many as there are."""

    def __init__(self) -> None:
        self._usual, self._hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._full = False

    def toggle(self) -> None:
        self._full = not self._full
        soft = self._next_descriptor() if self._full else self._usual
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, self._hard))
        print("full" if self._full else "free", flush=True)

    def _next_descriptor(self) -> int:
        fd = os.dup(0)
        os.close(fd)
        return fd


async def main(path: Path, mode: str) -> None:
    receiver = Receiver(path, die if mode == "dies" else greet)
    await receiver.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, Limit().toggle)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "greets"))
