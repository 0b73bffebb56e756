"""The main task of an actor: what it lives for, and does not outlive.

An actor whose main task is over would go on answering calls and do nothing. So it dies loudly: the exception
goes to the log, the process ends, and whoever keeps the actor alive (Ray, the supervisor) starts it again.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import structlog

from doorstep.actors.runtime.last_words import say_last

EXIT_STATUS = 70
"""Of a process that died with its main task: EX_SOFTWARE of sysexits(3)."""

logger = structlog.get_logger(__name__)


class MainTask:
    """Runs `work` from now on; the process ends with it, unless it was stopped.

    Whatever else an actor has going on for good belongs to a task group in `work`, each as `endless`, so that
    no task ends unnoticed. Call within a running event loop.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._over)

    async def stop(self) -> None:
        """End the work by cancelling it, and wait for that; what it raises then is logged."""
        self._stopping = True
        self._task.cancel()
        await asyncio.wait([self._task])

    def _over(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._stopping and error is not None:
            logger.error("main_task_failed_at_stop", exc_info=error)
        elif not self._stopping and not _was_cancelled(task):
            logger.critical("main_task_over", exc_info=error)
            say_last(f"its main task was over: {error!r}")
            die()


def _was_cancelled(task: asyncio.Task[None]) -> bool:
    """Whether the event loop ends; a cancellation that only leaked out of the work is a fault like others."""
    return task.cancelled() and task.cancelling() > 0


async def endless(work: Coroutine[Any, Any, None]) -> None:
    """Await what is never to end, as a task of a group: an end without an exception is one, too.

    A task group takes no notice of a member that returns, or whose cancellation was meant for something that
    it waited for. Raises what `work` raises, and `RuntimeError` for such an end.
    """
    task = asyncio.current_task()
    assert task is not None
    try:
        await work
    except asyncio.CancelledError as error:
        if task.cancelling():
            raise
        raise RuntimeError(f"{work} has ended: a cancellation leaked out of it") from error
    raise RuntimeError(f"{work} has ended")


def die() -> None:
    """End this process at once, without a clean-up that could hang: there is nothing left that works."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_STATUS)
