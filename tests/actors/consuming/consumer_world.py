"""The surroundings of a consumer in a test: topics, routes and settings of its own on the shared servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import redis
from confluent_kafka import Producer

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.values import Logged, Want
from doorstep.config.settings import ContextSettings, HistorySettings, KafkaSettings, RedisSettings, Settings
from doorstep.gateway.cursor import Cursor
from tests.support.dead_letters import DeadLetter, read_dead_letters
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import (
    LIFECYCLE_SLOT_TOPIC,
    REGISTRATION_TOPIC,
    SLOT_TOPIC,
    TEACHER_TOPIC,
    VALIDATION_TOPIC,
    Wire,
    batch_registered,
    slot_assigned,
    teacher_notification,
)
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.waiting import PATIENCE_S

_SHIPPED_ROUTES = Settings.model_fields["routes"].default
_ALL = 1_000_000


class World:
    """One test's Kafka topics and what is in the logs of its users."""

    def __init__(
        self, kafka: KafkaServer, valkey: ValkeyServer, names: Names, directory: Path, partitions: int = 4
    ) -> None:
        """The topics of slots and notifications get `partitions`, that of contexts two, the others one."""
        self.kafka = kafka
        self.valkey = valkey
        self.names = names
        self.slots = self._own(SLOT_TOPIC)
        self.contexts = self._own(REGISTRATION_TOPIC)
        self.notifications = self._own(TEACHER_TOPIC)
        self.dead = names.topic("dead")
        self.publisher = Publisher(kafka.bootstrap)
        self._routes = directory / "routes.toml"
        self._routes.write_text(self._own(_SHIPPED_ROUTES.read_text()))
        topics = {self.slots: partitions, self.notifications: partitions, self.contexts: 2}
        topics |= {self._own(LIFECYCLE_SLOT_TOPIC): 1, self._own(VALIDATION_TOPIC): 1}
        for topic, amount in topics.items():
            kafka.create_topic(topic, partitions=amount)
        self.events = 2 * partitions + 2
        """How many partitions with events there are."""
        self.partitions = sum(topics.values())

    # What goes in

    def slot(self, batch: str, essay: str, **changed: Any) -> Wire:
        """An essay of a batch."""
        return self._own_wire(slot_assigned(batch, essay, **changed))

    def registration(self, batch: str, user: str) -> Wire:
        """Whose batch it is."""
        return self._own_wire(batch_registered(batch, user))

    def notification(self, user: str, kind: str = "note", **changed: Any) -> Wire:
        """A notification for a user; `kind` names it."""
        return self._own_wire(teacher_notification(user, notification_type=kind, **changed))

    def produce(self, topic: str, value: bytes | None, key: bytes = b"key", **more: Any) -> None:
        """Write any bytes, and wait until Kafka has them."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "message.max.bytes": 8_000_000})
        producer.produce(topic, value, key=key, **more)
        assert producer.flush(30) == 0

    async def lose_redis(self) -> None:
        """Redis loses everything."""
        with redis.Redis.from_url(self.valkey.url) as client:
            await asyncio.to_thread(client.flushall)

    # What works on it

    def settings(
        self,
        *,
        kafka: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        history: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Settings for these servers and topics, with some changed."""
        usual_kafka = {
            "bootstrap_servers": self.kafka.bootstrap,
            "group_id": self.names.group(),
            "dead_letter_topic": self.dead,
            "commit_interval_ms": 100,
            "session_timeout_ms": 6000,
        }
        return Settings(
            kafka=KafkaSettings.model_validate(usual_kafka | dict(kafka or {})),
            redis=RedisSettings.model_validate({"url": self.valkey.url, "timeout_s": 2}),
            context=ContextSettings.model_validate({"sweep_interval_s": 0.2} | dict(context or {})),
            history=HistorySettings.model_validate({"max_count": 100_000} | dict(history or {})),
            routes=self._routes,
            log_level="warning",
        )

    @asynccontextmanager
    async def consumer(
        self, name: str = "consumer-0", **changed: Mapping[str, Any]
    ) -> AsyncIterator[Consumer]:
        """A consumer that is at work when it is given out, and stopped afterwards."""
        consumer = Consumer(name, self.settings(**changed), name)
        try:
            await self.until(lambda: self._is_at_work(consumer), "the consumer is at work")
            yield consumer
        finally:
            await consumer.stop()

    # What comes out

    async def until(self, holds: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until `holds` (or what it awaits) is true."""
        deadline = time.monotonic() + within_s
        while True:
            said = holds()
            if await said if asyncio.iscoroutine(said) else said:
                return
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
            await asyncio.sleep(0.02)

    async def log(self, user: str) -> list[dict[str, Any]]:
        """The notifications in a user's log."""
        connection = connect(self.settings().redis)
        log, cursor = Log(connection, HistorySettings()), None
        notifications: list[Logged] = []
        try:
            while True:
                (page,) = await log.read([Want(user, cursor, 1000, replay=_ALL)], now=True)
                if page is None:  # no consumer has been there yet
                    return []
                assert page.reset is None
                if not page.notifications:
                    return [orjson.loads(logged.payload) for logged in notifications]
                notifications += page.notifications
                cursor = page.notifications[-1].cursor
        finally:
            await connection.close()

    async def head(self, user: str) -> Cursor | None:
        """The end of the user's log; None while that cannot be told."""
        connection = connect(self.settings().redis)
        try:
            (head,) = await Log(connection, HistorySettings()).heads([user])
        finally:
            await connection.close()
        return head

    async def logged(self, user: str, count: int, within_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The user's log once it has at least `count` notifications."""

        async def enough() -> bool:
            return len(await self.log(user)) >= count

        await self.until(enough, f"{count} notifications in the log of {user}", within_s)
        return await self.log(user)

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        """The dead letters, once there are at least `count`."""
        return await asyncio.to_thread(read_dead_letters, self.kafka.bootstrap, self.dead, count)

    async def counted(self, consumer: Consumer, outcome: str, reason: str = "") -> int:
        """How many records ended so at this consumer."""
        samples = [sample for family in await consumer.metrics() for sample in family.samples]
        wanted = {"outcome": outcome, "reason": reason}
        return sum(
            int(sample.value)
            for sample in samples
            if sample.name == "doorstep_consumer_records_total" and sample.labels == wanted
        )

    async def in_flight(self, consumer: Consumer) -> int:
        """How many records it has read and not committed."""
        (family,) = [
            each for each in await consumer.metrics() if each.name == "doorstep_consumer_in_flight_records"
        ]
        return int(family.samples[0].value)

    @staticmethod
    async def _is_at_work(consumer: Consumer) -> bool:
        return (await consumer.status()).state == "running"

    def _own(self, text: str) -> str:
        return text.replace("huleedu.", f"{self.names.token}.")

    def _own_wire(self, wire: Wire) -> Wire:
        return Wire(self._own(wire.topic), wire.key, self._own(wire.value.decode()).encode())


def essays(notifications: Iterable[Mapping[str, Any]]) -> list[str]:
    """The essays of slot notifications, in order."""
    return [notification["data"]["essay_id"] for notification in notifications]
