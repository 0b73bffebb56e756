"""Every asynchronous test of the gateway runs on asyncio's own loop and on uvloop."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def private_directory() -> Iterator[Path]:
    """A short path for Unix sockets, which only we can enter."""
    with tempfile.TemporaryDirectory(prefix="ds-") as name:
        path = Path(name)
        path.chmod(0o700)
        yield path


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    """Counts the descriptors of this process."""
    directory = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    return lambda: sum(1 for _ in directory.iterdir())
