"""What is to be said of all actors together, in values that `orjson` can encode. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from doorstep.actors.control.report import Report, Unreachable
from doorstep.actors.kafka.errors import ABSENT

_UNABLE = frozenset({"starting", "connecting", "joining", "settling", "draining", "stopping", "stopped"})
_SAID_APART = frozenset({"name", "state", "breakers", "actors"})

Answers = Mapping[str, Report | Unreachable]
"""By the names of the actors, what each said of itself."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps the service from doing all of its work."""

    actor: str
    what: str
    """The server that the actor does not reach, the topic or partition that is held up, or `actor` itself."""
    state: str
    since: float
    """Unix seconds."""
    reason: str | None = None

    def told(self) -> dict[str, object]:
        """For people and tools."""
        return {**asdict(self), "since": _time(self.since)}


class Since:
    """Remembers since when each actor is in the state in which it was seen last."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def see(self, answers: Answers, now: float) -> Mapping[str, float]:
        """By name, since when, in unix seconds; `now` for a state that is seen first."""
        for name, answer in answers.items():
            state = _state_of(answer)
            if self._seen.get(name, ("", 0.0))[0] != state:
                self._seen[name] = state, now
        return {name: since for name, (_, since) in self._seen.items()}


def fleet_status(answers: Answers, since: Mapping[str, float], digest: str) -> dict[str, object]:
    """Everything, and first of all whether it is well: `ok`. `digest` is what all actors are to have."""
    troubles = list(troubles_of(answers, since, digest))
    return {
        "ok": not troubles,
        "troubles": [trouble.told() for trouble in troubles],
        "actors": {name: _told(answer, since[name]) for name, answer in answers.items()},
    }


def troubles_of(answers: Answers, since: Mapping[str, float], digest: str) -> Iterator[Trouble]:
    """Actors that do not answer, that are not ready or that differ; servers out of their reach, and topics
    and partitions that are held up."""
    for name, answer in answers.items():
        if isinstance(answer, Unreachable):
            yield Trouble(name, "actor", "unreachable", since[name], answer.reason)
            continue
        if answer.status.state in _UNABLE:
            yield Trouble(name, "actor", answer.status.state, since[name])
        if answer.digest != digest:
            reason = f"it is of version and settings {answer.digest}, not {digest}"
            yield Trouble(name, "actor", "differs", answer.started_at, reason)
        for breaker in getattr(answer.status, "breakers", ()):
            if breaker.state == "open":
                yield Trouble(name, breaker.name, "open", breaker.since, breaker.reason)
        for held_up, fault in getattr(answer.status, "faults", {}).items():
            if fault.reason != ABSENT:
                yield Trouble(name, held_up, "faulty", fault.since, fault.reason)


def can_take_sockets(answers: Answers, names: Iterable[str]) -> bool:
    """Whether the actors of these names, which sockets need, are all there. A server out of reach is no
    reason to turn sockets away: they would be no better off elsewhere."""
    return all(_state_of(answers[name]) == "serving" for name in names)


def _state_of(answer: Report | Unreachable) -> str:
    return "unreachable" if isinstance(answer, Unreachable) else answer.status.state


def _told(answer: Report | Unreachable, since: float) -> dict[str, object]:
    told: dict[str, object] = {"state": _state_of(answer), "since": _time(since)}
    if isinstance(answer, Unreachable):
        return {**told, "reason": answer.reason}
    status: Any = answer.status
    details = {name: value for name, value in asdict(status).items() if name not in _SAID_APART}
    servers = {
        breaker.name: {**asdict(breaker), "since": _time(breaker.since)}
        for breaker in getattr(status, "breakers", ())
    }
    if "faults" in details:
        details["faults"] = {
            name: {**fault, "since": _time(fault["since"])} for name, fault in details["faults"].items()
        }
    process = {
        "node": answer.node,
        "pid": answer.pid,
        "started": _time(answer.started_at),
        "restarts": answer.restarts,
        "version": answer.version,
        "digest": answer.digest,
    }
    return {**told, **details, "servers": servers, "process": process}


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
