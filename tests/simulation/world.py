"""Everything at once: Doorstep's consumers and holders on a simulated loop, network, Redis and Kafka."""

import contextlib
import gc
import random
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from unittest.mock import patch

from pydantic import SecretStr

from doorstep.actors.consuming import consumer as consumer_module
from doorstep.actors.consuming import membership, start_point
from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.holding import holder as holder_module
from doorstep.actors.holding.holder import Holder
from doorstep.actors.kafka import dead_letter_producer, group_consumer, offset_queries
from doorstep.actors.kafka.consumer_thread import ConsumerThread
from doorstep.actors.kafka.group_queries import owned_partitions
from doorstep.actors.kafka.topic_queries import TopicQueries
from doorstep.actors.kafka.whole_reader import read_whole
from doorstep.actors.placement.cell import Cell
from doorstep.actors.placement.slots import slot_of
from doorstep.actors.runtime import main_task
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.config.routes import RouteTable, load_routes
from doorstep.config.settings import (
    AuthSettings,
    ContextSettings,
    GatewaySettings,
    KafkaSettings,
    RedisSettings,
    Settings,
)
from doorstep.gateway import handover
from tests.simulation import kafka_clients
from tests.simulation.cells import RUN, Cells, Receiver
from tests.simulation.clients import Browser, Device, Poller
from tests.simulation.kafka import Broker
from tests.simulation.loop import Loop, Process, current
from tests.simulation.network import Network
from tests.simulation.originals import (
    AsksForOwned,
    MakesMember,
    MakesQueries,
    MakesReceiver,
    ReadsWhole,
    Replaced,
)
from tests.simulation.plan import Plan
from tests.simulation.redis_lua import Lua
from tests.simulation.redis_server import RedisServer
from tests.simulation.trace import Trace
from tests.support.records import (
    LIFECYCLE_SLOT_TOPIC,
    REGISTRATION_TOPIC,
    SLOT_TOPIC,
    TEACHER_TOPIC,
    VALIDATION_TOPIC,
)

BORN = 1_700_000_000.0
"""Unix seconds at which every run begins."""
SESSION_S = 6.0
DEAD = "doorstep.dead-letter.v1"
TOPICS = {
    TEACHER_TOPIC: 3,
    SLOT_TOPIC: 2,
    REGISTRATION_TOPIC: 1,
    LIFECYCLE_SLOT_TOPIC: 1,
    VALIDATION_TOPIC: 1,
    DEAD: 1,
}


_SETTINGS = Settings(
    kafka=KafkaSettings(
        bootstrap_servers="kafka:9092", session_timeout_ms=int(SESSION_S * 1000), commit_interval_ms=200
    ),
    redis=RedisSettings(url=SecretStr("redis://redis:6379"), timeout_s=2),
    auth=AuthSettings(hs256_secret=SecretStr("of-nobody-as-no-token-is-verified-here")),
    gateway=GatewaySettings(ping_interval_s=5, ping_timeout_s=2, write_buffer_bytes=4096, stuck_timeout_s=2),
    context=ContextSettings(sweep_interval_s=2),
)


@dataclass(slots=True)
class Actor:
    """One that is wanted, and the process that it has now."""

    name: str
    node: str
    process: Process
    body: Consumer | Holder


@dataclass(slots=True)
class World:
    """What a run consists of."""

    plan: Plan
    loop: Loop = field(default_factory=Loop)
    actors: dict[str, Actor] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    network: Network = field(init=False)
    redis: RedisServer = field(init=False)
    kafka: kafka_clients.Kafka = field(init=False)
    cells: Cells = field(default_factory=Cells)
    trace: Trace = field(init=False)

    def __post_init__(self) -> None:
        self.trace = Trace(self.loop.time)
        self.network = Network(self.loop, self.plan.chance("network"))
        self.loop.connector = self.network.connect
        self.redis = RedisServer(self.network, "redis", _lua(), self.clock)
        self.kafka = kafka_clients.Kafka(self.network, Broker(self.network, TOPICS, SESSION_S))
        self.loop.thread = self.kafka.in_a_thread

    def clock(self) -> float:
        """Unix seconds."""
        return BORN + self.loop.time()

    def start_consumer(self, name: str, node: str) -> None:
        """Have a consumer work, in a new process."""
        process = Process(self.loop, name, node)
        self.actors[name] = Actor(name, node, process, process.call(Consumer, name, _SETTINGS, name))

    def start_holder(self, name: str, node: str) -> None:
        """Have a holder serve, in a new process."""
        process = Process(self.loop, name, node)
        body = process.call(Holder, name, _SETTINGS, self.cells.cells[node], RUN)
        self.actors[name] = Actor(name, node, process, body)

    def add_node(self, node: str, holders: int) -> None:
        """A node with its cell."""
        self.cells.cells[node] = cell = Cell.of(node, holders)
        for name in cell.holders:
            self.start_holder(name, node)

    def lose_node(self, node: str) -> list[str]:
        """A node is gone; the names of its consumers."""
        del self.cells.cells[node]
        lost = {name: actor for name, actor in self.actors.items() if actor.node == node}
        for name, actor in lost.items():
            actor.process.kill()
            del self.actors[name]
        return [name for name, actor in lost.items() if isinstance(actor.body, Consumer)]

    def start(self, actor: Actor) -> None:
        """Start a successor of an actor."""
        begin = self.start_consumer if isinstance(actor.body, Consumer) else self.start_holder
        begin(actor.name, actor.node)

    def add_device(self, user: str, device: str, kind: type[Browser | Poller]) -> None:
        """One device more."""
        chance = self.plan.chance(device)
        self.devices.append(kind(self.network, self.cells, chance, user=user, device=device))

    def log_of(self, user: str) -> list[bytes]:
        """The payloads in a user's log."""
        key = Keyspace("doorstep").user(slot_of(user), user)[0]
        return [fields[3] for _, fields in self.redis.data.run(b"XRANGE", key.encode(), b"-", b"+")]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts, Doorstep's code finds this world where it looks for the real one."""
        kafka = self.kafka
        random.seed(self.plan.seed)
        ours = (
            Replaced[MakesMember](
                group_consumer,
                "ConsumerThread",
                ConsumerThread,
                partial(kafka_clients.ConsumerThread, kafka),
            ),
            Replaced[ReadsWhole](start_point, "read_whole", read_whole, kafka.read_whole),
            Replaced[AsksForOwned](membership, "owned_partitions", owned_partitions, kafka.owned_partitions),
            Replaced[MakesQueries](
                consumer_module, "TopicQueries", TopicQueries, partial(kafka_clients.TopicQueries, kafka)
            ),
            Replaced[MakesReceiver](
                holder_module, "Receiver", handover.Receiver, partial(Receiver, self.cells)
            ),
        )
        stand_ins: list[tuple[object, str, object]] = [
            *((each.module, each.name, each.stand_in) for each in ours),
            (offset_queries, "Consumer", partial(kafka_clients.QueryConsumer, kafka)),
            (dead_letter_producer, "Producer", partial(kafka_clients.LetterProducer, kafka)),
            (main_task, "die", self._die),
            (time, "time", self.clock),
            (time, "monotonic", self.loop.time),
            (secrets, "token_hex", self._token),
            *((module, "collect_rarely", _nothing) for module in (consumer_module, holder_module)),
            *((module, "load_routes", _routes) for module in (consumer_module, holder_module)),
        ]
        with contextlib.ExitStack() as stack:
            for module, name, stand_in in stand_ins:
                stack.enter_context(patch.object(module, name, stand_in))
            stack.enter_context(self.trace.logs())
            yield

    def close(self) -> None:
        """Drop what is left of it; what suspended tasks have to say to that is of no interest."""
        hook, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            self.loop.close()
            self.actors.clear()
            self.devices.clear()
            gc.collect()
        finally:
            sys.unraisablehook = hook

    def _token(self, size: int) -> str:
        return random.randbytes(size).hex()

    def _die(self) -> None:
        process = current()
        assert process is not None
        self.trace.note(process.name, "died with its main task")
        process.kill()


@lru_cache
def _lua() -> Lua:
    return Lua()


_read_routes = lru_cache(load_routes)


def _routes(path: Path) -> RouteTable:
    return _read_routes(path)


def _nothing() -> None:
    """In place of what concerns a whole process."""


def _ignore(_: object) -> None:
    """In place of the complaints of what was never to end."""
