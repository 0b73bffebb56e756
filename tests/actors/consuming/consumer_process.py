"""A consumer as a process to be killed: `python -m tests.actors.consuming.consumer_process <file>`.

The file is made by `write_settings`.
"""

import asyncio
import pickle
import sys
from pathlib import Path

from doorstep.actors.consuming.consumer import Consumer
from doorstep.config.settings import Settings


def write_settings(path: Path, settings: Settings) -> None:
    """Write the settings that the process reads."""
    path.write_bytes(pickle.dumps(settings))


async def main(settings: Settings) -> None:
    """Consume until killed."""
    consumer = Consumer("consumer-in-a-process", settings, "consumer-in-a-process")
    await asyncio.Event().wait()
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(pickle.loads(Path(sys.argv[1]).read_bytes())))
