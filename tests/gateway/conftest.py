"""Every asynchronous test of the gateway runs on asyncio's own loop and on uvloop."""

import asyncio
import gc
import os
import stat
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
def open_sockets() -> Callable[[], int]:
    """Counts the sockets that this process has open; those that earlier tests forgot are closed first."""
    gc.collect()
    return lambda: sum(_is_socket(int(path.name)) for path in Path("/dev/fd").iterdir())


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False
