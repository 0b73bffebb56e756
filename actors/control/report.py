"""What is known of an actor: its report, or why there is none. Pure."""

from dataclasses import dataclass
from typing import Protocol

_UNABLE = frozenset({"starting", "connecting", "joining", "settling", "draining", "stopping", "stopped"})


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
    cpu_s: float
    """CPU seconds that the process has used."""
    restarts: int
    """How often the process was started again since the service was."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An actor that did not answer, and why."""

    name: str
    reason: str
    state: str = "unreachable"
    """What this is called; `starting` of one that has yet to come."""


def lacks_redis(status: Status) -> bool:
    """Whether the actor says that it does not reach Redis."""
    return any(each.name == "redis" and each.state == "open" for each in getattr(status, "breakers", ()))


def is_able(report: Report) -> bool:
    """Whether the actor does its work, or would if there were some."""
    return report.status.state not in _UNABLE
