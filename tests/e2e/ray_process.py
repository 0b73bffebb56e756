"""A Ray as a process of its own, which `serve` is given: `python -m tests.e2e.ray_process <directory>`.

It prints its address once it is there, and ends when its stdin does.
"""

import asyncio
import sys
from pathlib import Path

from doorstep.actors.control.own_ray import OwnRay


async def main(directory: Path) -> None:
    """Start it, and stop it at the end of stdin."""
    ray = OwnRay(directory)
    print(await ray.start(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await ray.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
