"""Tasks beside an actor's main task: for one user or one moment, so that their errors are nobody else's."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SideTasks:
    """Keeps tasks alive until their end; the event loop itself keeps weak references only."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        """`on_error` is told what a task has raised."""
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._on_error(error)
