"""Following Kafka: everything from now on, once, and a fault of the handler is not hidden."""

import asyncio

import pytest

from doorstep.config.settings import KafkaSettings
from doorstep.demo.stream import PARTITIONS, Publisher, create_topics, following, producing
from doorstep.demo.wire import Message, Trace
from tests.support.names import Names
from tests.support.servers import KafkaServer
from tests.support.waiting import PATIENCE_S

TRACE = Trace("0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11")


class Notebook:
    """Writes down what it is handed."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._more = asyncio.Event()

    async def handle(self, message: Message) -> None:
        self.numbers.append(message.data["number"])
        self._more.set()

    async def has(self, count: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.numbers) < count:
                self._more.clear()
                await self._more.wait()
        return self.numbers


@pytest.fixture
async def settings(kafka: KafkaServer, names: Names) -> KafkaSettings:
    """With one topic, `names.topic()`."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
    await create_topics(settings, [names.topic()])
    return settings


async def test_only_what_is_published_from_now_on_is_handled_in_the_order_of_a_key(
    settings: KafkaSettings, names: Names
) -> None:
    notebook = Notebook()
    async with producing(settings) as producer:
        publisher = Publisher(producer, "test")
        await publisher.publish(names.topic(), "key", {"number": -1}, TRACE)
        async with following(settings, [names.topic()], notebook.handle):
            for number in range(100):
                await publisher.publish(names.topic(), "key", {"number": number}, TRACE)
            assert await notebook.has(100) == list(range(100))


async def test_the_first_record_is_not_missed(settings: KafkaSettings, names: Names) -> None:
    async with producing(settings) as producer:
        publisher = Publisher(producer, "test")
        for attempt in range(20):  # it is a race
            notebook = Notebook()
            async with following(settings, [names.topic()], notebook.handle):
                await publisher.publish(names.topic(), "key", {"number": attempt}, TRACE)
                assert await notebook.has(1) == [attempt]


async def test_what_is_no_envelope_is_skipped(settings: KafkaSettings, names: Names) -> None:
    notebook = Notebook()
    async with producing(settings) as producer, following(settings, [names.topic()], notebook.handle):
        for value in (b"not JSON", None, b"[]"):
            await producer.send_and_wait(names.topic(), value, key=b"key")
        await Publisher(producer, "test").publish(names.topic(), "key", {"number": 1}, TRACE)
        assert await notebook.has(1) == [1]


async def test_what_a_handler_raises_ends_the_body(settings: KafkaSettings, names: Names) -> None:
    async def fail(message: Message) -> None:
        raise RuntimeError(f"cannot take {message.data}")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="cannot take")):
        async with producing(settings) as producer, following(settings, [names.topic()], fail):
            await Publisher(producer, "test").publish(names.topic(), "key", {}, TRACE)
            await asyncio.sleep(PATIENCE_S)


async def test_what_the_body_raises_comes_out_as_it_is(settings: KafkaSettings, names: Names) -> None:
    with pytest.raises(LookupError, match="of the body"):
        async with following(settings, [names.topic()], Notebook().handle):
            raise LookupError("of the body")


async def test_topics_are_created_where_they_are_missing(settings: KafkaSettings, names: Names) -> None:
    await create_topics(settings, [names.topic(), names.topic("second")])
    await create_topics(settings, [names.topic(), names.topic("second")])
    async with producing(settings) as producer:
        for topic in (names.topic(), names.topic("second")):
            assert len(await producer.partitions_for(topic)) == PARTITIONS
