"""What is known of an actor: its report, or why there is none. Pure."""

from dataclasses import dataclass
from typing import Protocol


class Status(Protocol):
    """What every actor says of itself; a dataclass, with more in it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def state(self) -> str:
        """What it is doing, in a word."""


@dataclass(frozen=True, slots=True)
class Report:
    """An actor's status, and what is to be known of its process."""

    status: Status
    version: str
    digest: str
    """Of version and settings: actors whose digests differ do not belong together."""
    node: str
    """The name of its node; empty where there is only one."""
    pid: int
    started_at: float
    """Unix seconds."""
    restarts: int
    """How often the process was started again since the service was."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An actor that did not answer, and why."""

    name: str
    reason: str
