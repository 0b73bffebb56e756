"""Runs scenarios on all targets, in turns, so that whatever disturbs the machine disturbs all of them."""

import collections.abc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from doorstep.benchmarks.centrifugo import start_centrifugo
from doorstep.benchmarks.conductor import Conductor
from doorstep.benchmarks.costs import CostMeter
from doorstep.benchmarks.generator import CLIENTS_PER_SWARM, Generator
from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.labels import NAIVE, OURS, PEER
from doorstep.benchmarks.naive import start_naive
from doorstep.benchmarks.ours import start_doorstep
from doorstep.benchmarks.redis_server import RedisServer, given_redis, start_redis
from doorstep.benchmarks.results import Run
from doorstep.benchmarks.scenario import Load, Scenario, Suite
from doorstep.benchmarks.screen import Screen
from doorstep.benchmarks.target import Target
from doorstep.development.processes import ServerError

WARM_UP_S = 3.0
SHORT_WARM_UP_S = 0.5
KAFKA_WARM_UP_S = 30.0
"""A new broker's just-in-time compiler takes half a core for so long, and makes it twice as cheap."""
_NEW_CLIENT = 1 / 3
"""So much of that again for each further kind of target, whose clients ask in other versions of Kafka's
protocol: without it the first ten seconds of the second one had twice the p99 of those after."""

SWARMS = 2
"""Processes of clients, where their number does not need more."""

_TITLES = {"ours": OURS, "peer": PEER, "naive": NAIVE}

Starter = Callable[[RedisServer, Path, Mapping[str, str]], Target]
"""Takes the Redis, a directory for logs, and settings that differ from the default."""

Performance = collections.abc.Generator[Run, None, None]
"""Yields each run as it ends. To be closed: then the servers are ended."""


@dataclass(frozen=True, slots=True)
class Session:
    """A target, started once, and what is run on it, one after another."""

    target: str
    settings: tuple[tuple[str, str], ...]
    scenarios: tuple[Scenario, ...]
    round: int


def plan_sessions(scenarios: Sequence[Scenario], suite: Suite, targets: Sequence[str]) -> Sequence[Session]:
    """All sessions in the order to run them: the targets take turns, and who begins changes each round."""
    rounds = max((scenario.rounds_in(suite) for scenario in scenarios), default=0)
    return [
        session
        for number in range(rounds)
        for session in _round(
            [scenario for scenario in scenarios if number < scenario.rounds_in(suite)],
            targets if number % 2 == 0 else tuple(reversed(targets)),
            number,
        )
    ]


def _round(scenarios: Sequence[Scenario], targets: Sequence[str], number: int) -> Iterator[Session]:
    """A session per target, and one more for each change of settings and each fresh start."""
    for (_, settings), group in groupby(sorted(scenarios, key=_start_of), key=_start_of):
        members = tuple(group)
        for target in targets:
            chosen = tuple(scenario for scenario in members if target in scenario.targets)
            if chosen:
                yield Session(target, settings, chosen, number)


def _start_of(scenario: Scenario) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Scenarios for which this is the same can share a server that was started once."""
    return scenario.name if scenario.fresh else "", tuple(sorted(scenario.settings.items()))


class Stage:
    """What all sessions share: Kafka, a way to a Redis, how targets are started, and where logs go."""

    def __init__(
        self,
        kafka: Kafka,
        directory: Path,
        screen: Screen,
        *,
        redis_url: str | None = None,
        peer: Path | None = None,
        serve: Sequence[str] = (),
        warm_up_s: float = WARM_UP_S,
        kafka_warm_up_s: float = 0,
    ) -> None:
        """`redis_url`: of a Redis that is there; else every session gets a Valkey of its own. `peer`: the
        binary of Centrifugo. `serve`: the command to run in place of `doorstep serve`. `warm_up_s`: how long
        each target is loaded before it is measured; in a new broker's first session `kafka_warm_up_s` longer,
        and somewhat longer in the first one of every other target."""
        self._kafka = kafka
        self._directory = directory
        self._screen = screen
        self._redis_url = redis_url
        self._warm_up_s = warm_up_s
        self._kafka_warm_up_s = kafka_warm_up_s
        self._known_to_kafka: set[str] = set()
        self._starters: Mapping[str, Starter] = {
            "ours": lambda redis, logs, settings: start_doorstep(kafka, redis, logs, settings, serve),
            "peer": lambda redis, logs, _settings: start_centrifugo(peer or Path(), kafka, redis, logs),
            "naive": lambda redis, logs, _settings: start_naive(kafka, redis, logs),
        }
        self.versions: dict[str, str] = {"kafka": kafka.version}
        """Of what was used so far, by name."""

    def perform(self, session: Session) -> Performance:
        """Start the session's target, warm it up, run its scenarios on it, and end it.

        Raises `GeneratorError` or `ServerError` when a process of the generator or a server died.
        """
        directory = self._directory / f"{session.round}-{session.target}"
        with (
            self._redis(directory) as redis,
            self._target(session, redis, directory) as target,
            Generator(self._kafka.bootstrap, _swarms_for(session.scenarios)) as generator,
        ):
            meter = CostMeter(target, redis, self._kafka)
            conductor = Conductor(target, self._kafka, meter, generator, self._screen)
            self._warm_up(conductor, session.target)
            for scenario in session.scenarios:
                yield conductor.run(scenario, session.round)

    @contextmanager
    def _redis(self, directory: Path) -> Iterator[RedisServer]:
        directory.mkdir(parents=True, exist_ok=True)
        redis = given_redis(self._redis_url) if self._redis_url else start_redis(directory)
        try:
            self.versions["redis server"] = redis.version
            yield redis
        finally:
            redis.close()

    @contextmanager
    def _target(self, session: Session, redis: RedisServer, directory: Path) -> Iterator[Target]:
        with self._screen.step(f"{_TITLES[session.target]}: starting"):
            target = self._starters[session.target](redis, directory, dict(session.settings))
        self.versions[target.name] = target.version
        try:
            yield target
        finally:
            target.family.stop()

    def _warm_up(self, conductor: Conductor, target: str) -> None:
        longer_s = 0.0
        if target not in self._known_to_kafka:
            longer_s = self._kafka_warm_up_s * (_NEW_CLIENT if self._known_to_kafka else 1)
            self._known_to_kafka.add(target)
        run = conductor.run(_warm_up(self._warm_up_s + longer_s), 0)
        delivered = run.loads[-1].exactness.delivered
        if not delivered:
            raise ServerError(
                f"{run.target} delivered nothing in its warm-up: {run.connect.live} of {run.connect.wanted} "
                f"clients were live; refused: {dict(run.connect.failures)}; its log is in {self._directory}"
            )


def _warm_up(duration_s: float) -> Scenario:
    return Scenario(
        name="warm-up",
        about="Caches, just-in-time compilers, consumer groups: none of them should be measured.",
        users=200,
        load=(
            Load(name="until it answers", rate=100, duration_s=0.5),
            Load(name="until it is warm", rate=2000, duration_s=duration_s),
        ),
    )


def _swarms_for(scenarios: Sequence[Scenario]) -> int:
    most = max(scenario.connections for scenario in scenarios)
    return max(SWARMS, math.ceil(most / CLIENTS_PER_SWARM))
