"""What the user sees while it runs: one line of progress on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """A step that is under way."""

    def __call__(self, done: float, total: float) -> None:
        """So much of it is done."""


class Screen:
    """Shows steps one after another."""

    def __init__(self, console: Console | None = None) -> None:
        """Writes to standard error where no console is given."""
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, description: str) -> Iterator[Step]:
        """While the context lasts, a bar is there that its value moves."""
        task = self._progress.add_task(description)
        with self._progress:
            try:
                yield lambda done, total: self._move(task, done, total)
            finally:
                self._progress.remove_task(task)

    def _move(self, task: TaskID, done: float, total: float) -> None:
        self._progress.update(task, completed=min(done, total), total=max(total, 1))
