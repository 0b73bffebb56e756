"""A gateway that accepts nobody, in its own process: `python -m tests.gateway.port_process PATH` offers its
listening sockets there, and prints the port of the public one."""

import asyncio
import socket
import sys
from pathlib import Path

from doorstep.gateway.succession import Bequest


async def main(path: Path) -> None:
    """Until it is killed."""
    public, admin = (socket.create_server(("127.0.0.1", 0), backlog=100) for _ in range(2))
    Bequest(path, 1, lambda: {"admin": admin, "port 127.0.0.1:0": public}, lambda: None).start()
    print(public.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
