"""The main task as processes of their own: only stopped does it leave its process alive."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from doorstep.actors.runtime.main_task import EXIT_STATUS, endless

_PROGRAM = """
import asyncio
from doorstep.actors.runtime.main_task import MainTask

async def fails():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(3600))
        tasks.create_task(one_of_its_tasks())

async def one_of_its_tasks():
    raise LookupError("what went wrong")

async def returns():
    pass

async def leaks_a_cancellation():
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future

async def fails_when_stopped():
    try:
        await asyncio.sleep(3600)
    finally:
        raise LookupError("what went wrong")

async def actor():
    main_task = MainTask({work}())
    await asyncio.sleep({seconds})
    await main_task.stop()
    await main_task.stop()
    print("still alive")

asyncio.run(actor())
"""


def _run(work: str, seconds: float) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(work=work, seconds=seconds)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("work", ["fails", "returns", "leaks_a_cancellation"])
def test_a_process_ends_with_its_main_task_and_says_why(work: str) -> None:
    ended = _run(work, 20)
    assert ended.returncode == EXIT_STATUS
    assert "main_task_over" in ended.stdout + ended.stderr
    assert ("what went wrong" in ended.stdout + ended.stderr) == (work == "fails")


def test_a_main_task_that_is_stopped_leaves_its_process_alive() -> None:
    ended = _run("fails_when_stopped", 0.05)
    assert ended.returncode == 0
    assert "still alive" in ended.stdout
    assert "what went wrong" in ended.stdout + ended.stderr


async def _raises() -> None:
    raise LookupError("what went wrong")


async def _returns() -> None:
    pass


async def _leaks() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize(
    ("work", "error"), [(_raises, LookupError), (_returns, RuntimeError), (_leaks, RuntimeError)]
)
async def test_no_end_of_an_endless_task_goes_unnoticed(
    work: Callable[[], Coroutine[Any, Any, None]], error: type[Exception]
) -> None:
    with pytest.RaisesGroup(error):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(3600))
            tasks.create_task(endless(work()))


async def test_an_endless_task_can_be_cancelled() -> None:
    task = asyncio.create_task(endless(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
