"""What a raylet of ours starts in the place of each of Ray's two agents: a process of its own, this file.

The agents serve Ray's dashboard, its metrics and its runtime environments, which nobody uses here. But a
raylet waits for the ports that they write down, and ends when one of them does. This writes some down, and
lives as long as the raylet does. It imports nothing of ours, so that it is small and there at once.
"""

import os
import select
import socket
import sys
import time
from pathlib import Path

_HOST = "127.0.0.1"
_LOOK_S = 0.5


def main(session: Path, node_id: str, names: list[str]) -> None:
    """Reserve a port for each name, and write it where the raylet of the node looks for it. Whoever connects
    is refused. Returns when the raylet has ended."""
    raylet = os.getppid()
    reserved = [_reserve() for _ in names]
    for name, port in zip(names, reserved, strict=True):
        file = session / f"{name}_{node_id}"
        written = file.with_suffix(".new")
        written.write_text(str(port.getsockname()[1]))
        written.rename(file)
    _wait_for_the_end_of(raylet)


def _reserve() -> socket.socket:
    port = socket.socket()
    port.bind((_HOST, 0))
    return port


def _wait_for_the_end_of(parent: int) -> None:
    while os.getppid() == parent:
        try:
            select.select([os.pidfd_open(parent)], [], [])
        except (AttributeError, OSError):  # not on Linux, or it is ending now
            time.sleep(_LOOK_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
