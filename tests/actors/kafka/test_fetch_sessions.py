"""Incremental fetch sessions, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import RequestTimedOutError

from doorstep.actors.kafka.fetch_sessions import FetchSessions
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import Wire
from tests.support.servers import KafkaServer

PARTITIONS = 6


class Spy:
    """Between the sessions and the connection: what was really sent and answered, and how to break it."""

    def __init__(self, send: Callable[..., Awaitable[Any]]) -> None:
        self.fetches: list[tuple[int, int, int]] = []
        """Of each fetch: its epoch, and how many partitions it and its answer name."""
        self.errors: list[int] = []
        self.lose_next = False
        self.forget_next = False
        self._send = send

    async def __call__(self, node_id: int, request: Any, **options: Any) -> Any:
        if not hasattr(request, "session"):
            return await self._send(node_id, request, **options)
        prepare = request.prepare

        def note(versions: Any) -> Any:
            built = prepare(versions)
            if self.forget_next:  # as a broker would that was restarted, or has too many sessions
                self.forget_next, built.session_id = False, 12345
            self.sent = built
            return built

        request.prepare = note
        response = await self._send(node_id, request, **options)
        self.fetches.append((self.sent.session_epoch, _size(self.sent.topics), _size(response.topics)))
        self.errors.append(response.error_code)
        if self.lose_next:
            self.lose_next = False
            raise RequestTimedOutError
        return response


def _size(topics: Any) -> int:
    return sum(len(partitions) for _, partitions in topics)


@pytest.fixture
async def consumer(kafka: KafkaServer, names: Names) -> AsyncIterator[AIOKafkaConsumer]:
    topic = names.topic()
    kafka.create_topic(topic, partitions=PARTITIONS)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    consumer.spy = Spy(consumer._client.send)
    consumer._client.send = FetchSessions(consumer.spy)
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    yield consumer
    await consumer.stop()


@pytest.fixture
def publish(kafka: KafkaServer, consumer: AIOKafkaConsumer) -> Callable[[int, bytes], None]:
    publisher = Publisher(kafka.bootstrap)
    (topic,) = {partition.topic for partition in consumer.assignment()}

    def one(partition: int, value: bytes) -> None:
        publisher.send(Wire(topic, b"", value), partition=partition)
        publisher.flush()

    return one


async def read(consumer: AIOKafkaConsumer, count: int) -> list[bytes]:
    values: list[bytes] = []
    async with asyncio.timeout(20):
        while len(values) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
    return values


async def test_a_fetch_names_what_has_changed_and_its_answer_what_is_new(
    consumer: AIOKafkaConsumer, publish: Callable[[int, bytes], None]
) -> None:
    for number in range(5):
        publish(2, b"%d" % number)
        assert await read(consumer, 1) == [b"%d" % number]
    assert consumer.spy.fetches[0][:2] == (0, PARTITIONS)
    later = [fetch for fetch in consumer.spy.fetches if fetch[0] > 1]
    assert later
    assert max(named for _, named, _ in later) <= 1
    assert max(answered for _, _, answered in later) <= 1


async def test_seeks_and_pauses_are_followed(
    consumer: AIOKafkaConsumer, publish: Callable[[int, bytes], None]
) -> None:
    one, other = sorted(consumer.assignment())[:2]
    publish(one.partition, b"a")
    publish(other.partition, b"b")
    assert sorted(await read(consumer, 2)) == [b"a", b"b"]
    consumer.seek(one, 0)
    assert await read(consumer, 1) == [b"a"]
    consumer.pause(one)
    publish(one.partition, b"c")
    publish(other.partition, b"d")
    assert await read(consumer, 1) == [b"d"]
    consumer.resume(one)
    assert await read(consumer, 1) == [b"c"]
    consumer.seek(one, 0)
    consumer.seek(other, 1)
    assert sorted(await read(consumer, 3)) == [b"a", b"c", b"d"]


@pytest.mark.parametrize("what", ["lose_next", "forget_next"])
async def test_a_session_that_is_lost_begins_anew(
    consumer: AIOKafkaConsumer, publish: Callable[[int, bytes], None], what: str
) -> None:
    publish(0, b"a")
    assert await read(consumer, 1) == [b"a"]
    setattr(consumer.spy, what, True)
    publish(0, b"b")
    publish(1, b"c")
    assert sorted(await read(consumer, 2)) == [b"b", b"c"]
    assert [epoch for epoch, _, _ in consumer.spy.fetches].count(0) == 2
    assert (70 in consumer.spy.errors) == (what == "forget_next")  # FETCH_SESSION_ID_NOT_FOUND
