"""Scenarios: small declarative files that say who connects, what arrives, and what must hold."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from doorstep.benchmarks.arrivals import Arrivals
from doorstep.benchmarks.errors import SetupError
from doorstep.benchmarks.matrix import expand

SHIPPED = Path(__file__).parent / "scenarios"

_SMOKE_CONNECTIONS = 60
_SMOKE_RATE = 400
_SMOKE_ONLINE = 0.1
_SMOKE_S = 1.0
_SMOKE_EVENTS = 300
_SMOKE_IDLE_S = 0.2

_CLAIM = re.compile(
    r"^(?P<metric>\w+) (?P<relation><=|>=) (?P<factor>\d+(\.\d+)?)"
    r"( \* (?P<target>ours|peer|naive)(@(?P<scenario>[\w-]+))?(/(?P<load>.+))?)?$"
)


class Suite(StrEnum):
    """How much is run."""

    SMOKE = "smoke"
    """Those of `bench`, tiny: checks the suite itself. How long things take is shown, not judged."""
    BENCH = "bench"
    FULL = "full"
    GUARD = "guard"
    """For CI: what a notification costs, against the naive way in the same run."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claim(_Part):
    """Something that has to hold: `p99_ms <= 30`, `cpu_us <= 0.8 * peer`, `rate_per_s >= 2.5 * peer`,
    `p99_ms <= 1.2 * ours/all read` (another load), `p99_ms <= 1.2 * peer@steady` (another scenario)."""

    text: str
    metric: str
    relation: Literal["<=", ">="]
    factor: float
    target: str | None = None
    """`ours`, `peer` or `naive`; None: the factor is the limit."""
    scenario: str | None = None
    """None: the same."""
    load: str | None = None
    """None: the same."""

    @classmethod
    def parse(cls, text: str) -> "Claim":
        """Raises `ValueError` with the form that is wanted."""
        found = _CLAIM.match(text)
        if found is None:
            raise ValueError(f"{text!r} is no claim; one is like: p99_ms <= 30, or: cpu_us <= 0.8 * peer")
        return cls.model_validate({"text": text, **found.groupdict()})


class Load(_Part):
    """Events that arrive while the clients of a scenario are there (or are not)."""

    name: str
    kind: Literal["steady", "backlog", "missed"] = "steady"
    """steady: as fast as `rate` says. backlog: `events` are there when the server begins to read. missed:
    `events` come while every client is away, then all come back."""
    rate: float = 0
    duration_s: float = 0
    events: int = 0
    burst: int = Field(default=1, ge=1)
    """So many events fall due together."""
    recipients: int | None = Field(default=None, ge=1)
    """So many of the users get events; None: all of them."""
    hot_share: float = Field(default=0, ge=0, lt=1)
    """One user gets this share of the events."""
    mute: float = Field(default=0, ge=0, lt=1)
    """This share of the clients never reads."""
    must: tuple[str, ...] = ()
    goal: tuple[str, ...] = ()

    def arrivals(self, users: int, seed: int) -> Arrivals:
        """What the producer has to keep to."""
        count = self.events or round(self.rate * self.duration_s)
        recipients = min(self.recipients or users, users)
        return Arrivals(count, self.rate, recipients, self.burst, self.hot_share, seed)


class Scenario(_Part):
    """What one file describes, or one value of its matrix."""

    name: str
    about: str
    suites: tuple[Suite, ...] = (Suite.BENCH, Suite.FULL)
    targets: tuple[Literal["ours", "peer", "naive"], ...] = ("ours", "peer")
    """Who is measured; the peer and the naive way only where the run has them."""
    rounds: int = Field(default=1, ge=1)
    full_rounds: int = Field(default=3, ge=1)
    users: int = Field(ge=1)
    devices: int = Field(default=1, ge=1)
    """Connections of each user that is connected."""
    online: float = Field(default=1.0, gt=0, le=1)
    """Share of the users that are connected; all of them get events."""
    payload_bytes: int = Field(default=440, ge=1)
    """Length of the notification; the fields of its contract alone are about 440."""
    connect_window: int = Field(default=256, ge=1)
    """So many connections are being opened at any time."""
    idle_s: float = Field(default=0, ge=0)
    """Before the first load, so long nothing happens: that is when idle costs are measured."""
    stop_when_saturated: bool = False
    """Loads after the first one that the server could not follow are left out."""
    fresh: bool = False
    """The server is started for this scenario alone: what others leave in its memory would be in the way."""
    settings: Mapping[str, str] = {}
    """Settings of Doorstep (`DOORSTEP_…`) that differ from the default."""
    must: tuple[str, ...] = ()
    """Of connecting and being idle: `connect_s`, `connection_kb`, `idle_percent` …"""
    goal: tuple[str, ...] = ()
    load: tuple[Load, ...] = ()

    @property
    def online_users(self) -> int:
        """How many users are connected."""
        return max(1, round(self.users * self.online))

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self.online_users * self.devices

    def claims(self) -> Iterator[str]:
        """All that must hold or is a goal."""
        yield from (*self.must, *self.goal)
        for load in self.load:
            yield from (*load.must, *load.goal)

    def rounds_in(self, suite: Suite) -> int:
        """How often it is run for each target."""
        return {Suite.SMOKE: 1, Suite.FULL: self.full_rounds}.get(suite, self.rounds)

    def small(self) -> "Scenario":
        """The same in small: to check the suite, not the server. What it must reach is left out, but for
        the promises that always hold."""
        online = max(self.online, _SMOKE_ONLINE)
        users = max(1, round(min(self.users, _SMOKE_CONNECTIONS / self.devices / online)))
        loads = tuple(_small_load(load, users) for load in self.load[:2])
        small = {
            "users": users,
            "online": online,
            "load": loads,
            "idle_s": min(self.idle_s, _SMOKE_IDLE_S),
            "settings": {},
            "fresh": False,
            "must": (),
            "goal": (),
        }
        return self.model_copy(update=small)


def load_scenarios(directory: Path, suite: Suite, names: Sequence[str] = ()) -> Sequence[Scenario]:
    """The scenarios of a suite (or those named), in the order of their file names, made small for smoke.

    Raises `SetupError` that names file and field of what is wrong.
    """
    files = sorted(directory.glob("*.toml"))
    known = {scenario.name: scenario for path in files for scenario in read_scenarios(path)}
    unknown = set(names) - set(known)
    if unknown:
        raise SetupError(f"no scenario is named {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [known[name] for name in names] if names else list(_of_suite(known, suite))
    return [scenario.small() for scenario in chosen] if suite is Suite.SMOKE else chosen


def read_scenarios(path: Path) -> Sequence[Scenario]:
    """Read one file: one scenario, or one for each value of its matrix (`benchmarks.matrix`).

    Raises `SetupError` that names the file and what is wrong.
    """
    try:
        scenarios = [Scenario.model_validate(table) for table in expand(tomllib.loads(path.read_text()))]
        for text in (text for scenario in scenarios for text in scenario.claims()):
            Claim.parse(text)
    except (OSError, tomllib.TOMLDecodeError, ValidationError, ValueError) as error:
        raise SetupError(f"{path}: {error}") from error
    return scenarios


def _of_suite(known: Mapping[str, Scenario], suite: Suite) -> Iterator[Scenario]:
    wanted = Suite.BENCH if suite is Suite.SMOKE else suite
    return (scenario for scenario in known.values() if wanted in scenario.suites)


def _small_load(load: Load, users: int) -> Load:
    small = {"must": (), "goal": (), "events": min(load.events, _SMOKE_EVENTS)}
    if load.rate:
        small |= {
            "rate": min(load.rate, _SMOKE_RATE),
            "duration_s": min(load.duration_s, _SMOKE_S),
            "burst": min(load.burst, users),
        }
    return load.model_copy(update=small)
