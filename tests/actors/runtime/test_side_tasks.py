"""Side tasks: kept until their end, and their errors told."""

import asyncio
import gc

from doorstep.actors.runtime.side_tasks import SideTasks
from tests.support.waiting import PATIENCE_S


async def test_errors_are_told_and_ends_and_cancellations_are_not() -> None:
    errors: list[Exception] = []
    side = SideTasks(errors.append)

    async def fails() -> None:
        raise LookupError("injected")

    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    for work in (fails(), cancels_itself(), asyncio.sleep(0)):
        side.spawn(work)
    await asyncio.sleep(0.01)
    assert [str(error) for error in errors] == ["injected"]


async def test_a_task_that_nobody_refers_to_lives_on() -> None:
    done = asyncio.Event()

    async def waits() -> None:
        await asyncio.sleep(0.02)
        done.set()

    SideTasks(lambda _: None).spawn(waits())
    gc.collect()
    await asyncio.wait_for(done.wait(), PATIENCE_S)
