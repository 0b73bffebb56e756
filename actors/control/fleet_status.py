"""What is to be said of all actors together, in values that `orjson` can encode. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from doorstep.actors.control.report import Report, Unreachable, is_able, lacks_redis
from doorstep.actors.kafka.errors import ABSENT
from doorstep.actors.placement.spec import Spec

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


class Newcomers:
    """Remembers who of the wanted has yet to come. Who was wanted at first is no newcomer, and is missed."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()

    def want(self, names: Iterable[str]) -> None:
        """These are wanted from now on: who of them was not until now is a newcomer."""
        wanted = frozenset(names)
        if self._wanted:
            self.names = (self.names & wanted) | (wanted - self._wanted)
        self._wanted = wanted

    def see(self, answers: Answers) -> Answers:
        """The same answers, but that newcomers who give none are starting. Who does its work has come."""
        able = {name for name, answer in answers.items() if isinstance(answer, Report) and is_able(answer)}
        self.names -= able
        return {
            name: Unreachable(name, "it has yet to come", "starting")
            if isinstance(answer, Unreachable) and name in self.names
            else answer
            for name, answer in answers.items()
        }


def fleet_status(
    answers: Answers, since: Mapping[str, float], digest: str, spec: Spec, node: str
) -> dict[str, object]:
    """Everything, and first of all whether it is well: `ok`. `digest` is what all actors are to have, `spec`
    what is wanted of the fleet, `node` the one on which this is told."""
    troubles = list(troubles_of(answers, since, digest))
    return {
        "ok": not troubles,
        "troubles": [trouble.told() for trouble in troubles],
        "spec": spec_told(spec),
        "node": node,
        "actors": {name: _told(answer, since[name]) for name, answer in answers.items()},
    }


def spec_told(spec: Spec) -> dict[str, Any]:
    """What is wanted."""
    return {**asdict(spec), "draining": {node: _time(until) for node, until in spec.draining.items()}}


def spec_line(told: Mapping[str, Any]) -> str:
    """The same for people, of what `spec_told` has."""
    holders, consumers = (counted(told[name], name) for name in ("holders", "consumers"))
    draining = "".join(f", {node} drained by {until}" for node, until in sorted(told["draining"].items()))
    numbers = f"{holders} on each node, {consumers}{draining}"
    return f"generation {told['generation']}, version {told['version']}: {numbers}"


def counted(number: int, things: str) -> str:
    """How many there are, for people: `1 holder`, `2 holders`."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"


def troubles_of(answers: Answers, since: Mapping[str, float], digest: str) -> Iterator[Trouble]:
    """Actors that do not answer, that are not ready or that differ; servers out of their reach, and topics
    and partitions that are held up."""
    for name, answer in answers.items():
        if isinstance(answer, Unreachable):
            yield Trouble(name, "actor", answer.state, since[name], answer.reason)
            continue
        if not is_able(answer):
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


def can_take_sockets(holders: Answers, *, lacks_ray: bool) -> bool:
    """Whether the holders of a cell, without newcomers, are all there. A server out of reach is no reason to
    turn sockets away: they would be no better off elsewhere, unless the cell is cut off."""
    return not is_cut_off(holders, lacks_ray=lacks_ray) and all(
        _state_of(answer) == "serving" for answer in holders.values()
    )


def is_cut_off(holders: Answers, *, lacks_ray: bool) -> bool:
    """Whether a cell, with these holders, lacks both Ray's control plane and Redis: others may have them."""
    return lacks_ray and all(
        isinstance(answer, Report) and lacks_redis(answer.status) for answer in holders.values()
    )


def _state_of(answer: Report | Unreachable) -> str:
    return answer.state if isinstance(answer, Unreachable) else answer.status.state


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
