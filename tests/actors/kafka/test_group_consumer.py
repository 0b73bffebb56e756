"""The member of the consumer group, on a real Kafka."""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from confluent_kafka import KafkaError, Producer
from pydantic import SecretStr
from structlog.testing import capture_logs

from doorstep.actors.kafka import group_queries
from doorstep.actors.kafka.consumer_thread import Batch, ConsumerThread, GroupEvents
from doorstep.actors.kafka.errors import FencedError, KafkaUnavailableError
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.kafka.group_queries import owned_partitions
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.kafka.options import group_options
from doorstep.actors.records import OffsetAndMetadata, Partition
from doorstep.config.settings import KafkaSettings
from doorstep.demo.embedded import embedded_kafka
from doorstep.development.ports import free_port
from tests.conftest import KafkaFactory
from tests.support.kafka import SecureKafka
from tests.support.names import Names
from tests.support.pace import slowness
from tests.support.servers import KafkaServer
from tests.support.waiting import PATIENCE_S

PARTITIONS = 4
_AWAY_S = 5.0


class Member:
    """A group consumer whose user reads everything from the beginning, and notes what it is told."""

    def __init__(self, settings: KafkaSettings, topic: str, instance_id: str) -> None:
        self.consumer = GroupConsumer(settings, "member", instance_id, [topic], {})
        self.assigned: set[Partition] = set()
        self.revoked: list[frozenset[Partition]] = []
        self.read: dict[Partition, list[int]] = defaultdict(list)
        self.values: list[bytes | None] = []
        self.came: dict[Partition, list[float]] = defaultdict(list)
        """When something came, in monotonic seconds."""
        self.ends: dict[Partition, int] = {}
        self.batches: list[Batch] = []
        self.on_revoke: Callable[[frozenset[Partition]], Any] | None = None

    async def run(self) -> None:
        """Be a member."""
        events = GroupEvents(
            self._assigned, self._revoked, self._lost, self._unreadable, self._take, self.ends.update
        )
        await self.consumer.run(events)

    async def until(self, holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until `holds` is true."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
            await asyncio.sleep(0.01)

    def _assigned(self, partitions: frozenset[Partition]) -> None:
        self.assigned |= partitions
        self.consumer.read_from(dict.fromkeys(partitions, 0), lambda: None)

    async def _revoked(self, partitions: frozenset[Partition]) -> None:
        self.revoked.append(partitions)
        self.assigned -= partitions
        if self.on_revoke is not None:
            await self.on_revoke(partitions)

    def _lost(self, partitions: frozenset[Partition]) -> None:
        self.assigned -= partitions

    def _unreadable(self, partition: Partition, reason: str) -> None:
        raise AssertionError(f"{partition}: {reason}")

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        for partition, records in batch.items():
            self.came[partition].append(time.monotonic())
            self.read[partition] += [record.offset for record in records]
            self.values += [record.value for record in records]


@asynccontextmanager
async def running(member: Member) -> AsyncIterator[Member]:
    """A member from its first partition on, until the end."""
    task = asyncio.create_task(member.run())
    try:
        await member.until(lambda: member.assigned or task.done(), "it has partitions")
        yield member
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Topic:
    """A topic of four partitions, and who reads and writes it."""

    def __init__(self, kafka: KafkaServer, names: Names) -> None:
        self.name = names.topic()
        kafka.create_topic(self.name, partitions=PARTITIONS)
        self.settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, group_id=names.group(), linger_ms=0)
        self._address = {"bootstrap.servers": kafka.bootstrap}
        self._producer = Producer(self._address)

    def member(self, instance_id: str | None = None) -> Member:
        """One more, not yet running; or who was there already."""
        return Member(self.settings, self.name, instance_id or uuid.uuid4().hex)

    def of(self, *numbers: int) -> set[Partition]:
        """These partitions."""
        return {(self.name, number) for number in numbers}

    def produce(self, count: int, partitions: Collection[int] = range(PARTITIONS), **more: Any) -> None:
        """Write so many records to each of these."""
        for number in range(count):
            for partition in partitions:
                self._producer.produce(self.name, b"%d" % number, partition=partition, **more)
        assert self._producer.flush(30) == 0

    async def write_on(self) -> None:
        """Write to all partitions until cancelled, a hundred records a second to each."""
        while True:
            await asyncio.to_thread(self.produce, 1)
            await asyncio.sleep(0.01)

    def transaction(self, count: int, partition: int) -> None:
        """Write so many records to this one, and the marker that commits them."""
        producer = Producer({**self._address, "transactional.id": self.name})
        producer.init_transactions(30)
        producer.begin_transaction()
        for number in range(count):
            producer.produce(self.name, b"%d" % number, partition=partition)
        producer.commit_transaction(30)


@pytest.fixture
def topic(kafka: KafkaServer, names: Names) -> Topic:
    return Topic(kafka, names)


async def test_records_come_whole_and_in_order(topic: Topic) -> None:
    topic.produce(3, [1], key=b"k", headers=[("a", b"1"), ("a", None)])
    async with running(topic.member()) as member:
        member.consumer.allow(100)
        await member.until(lambda: len(member.read[topic.name, 1]) == 3, "all are read")
        records = [record for batch in member.batches for record in batch[topic.name, 1]]
        assert [(each.topic, each.partition, each.offset, each.value) for each in records] == [
            (topic.name, 1, number, b"%d" % number) for number in range(3)
        ]
        assert {(each.key, each.headers) for each in records} == {(b"k", (("a", b"1"), ("a", None)))}


async def test_ends_are_told_where_they_are_further_than_the_records(topic: Topic) -> None:
    topic.produce(3, [1])
    await asyncio.to_thread(topic.transaction, 2, 0)
    async with running(topic.member()) as member:
        member.consumer.allow(100)
        await member.until(lambda: member.ends, "it is told of what only a marker follows")
        await member.until(lambda: len(member.values) == 5, "all are read")
        topic.produce(1, [1])
        await member.until(lambda: len(member.values) == 6, "it goes on")
        assert member.ends == {(topic.name, 0): 3}


async def test_no_more_come_than_are_allowed(topic: Topic) -> None:
    topic.produce(50)
    async with running(topic.member()) as member:
        await asyncio.sleep(0.3)
        assert not member.batches
        for total in (7, 8, 120):
            member.consumer.allow(total - len(member.values))
            await member.until(lambda: len(member.values) == total, "as many as were allowed")  # noqa: B023
            await asyncio.sleep(0.15)
            assert len(member.values) == total
        member.consumer.allow(1000)
        await member.until(lambda: len(member.values) == 200, "all")
        assert all(read == list(range(50)) for read in member.read.values())


async def test_reading_begins_anew_where_it_is_told_to(topic: Topic) -> None:
    topic.produce(500, [0, 1])
    async with running(topic.member()) as member:
        member.consumer.allow(300)
        await member.until(lambda: len(member.values) == 300, "the first ones")
        other = list(member.read[topic.name, 1])
        member.consumer.allow(10_000)
        member.consumer.read_from({(topic.name, 0): 490}, member.read[topic.name, 0].clear)
        await member.until(lambda: len(member.read[topic.name, 1]) == 500, "the other partition is read on")
        await member.until(lambda: member.read[topic.name, 0][-1:] == [499], "the one is read again")
        assert member.read[topic.name, 0] == list(range(490, 500))
        assert other == member.read[topic.name, 1][: len(other)] == list(range(len(other)))


async def test_a_paused_partition_waits_and_loses_nothing(topic: Topic) -> None:
    async with running(topic.member()) as member:
        member.consumer.allow(1000)
        done = asyncio.Event()
        member.consumer.pause(frozenset(topic.of(0)), done.set)
        await done.wait()
        topic.produce(5, [0, 1])
        await member.until(lambda: len(member.read[topic.name, 1]) == 5, "the other one is read")
        await asyncio.sleep(0.2)
        assert member.read[topic.name, 0] == []
        member.consumer.pause(frozenset(), lambda: None)
        await member.until(lambda: len(member.read[topic.name, 0]) == 5, "it is read too")
        assert member.read[topic.name, 0] == list(range(5))


@pytest.mark.alone
async def test_who_is_resumed_is_read_at_once(topic: Topic) -> None:
    """Also when nothing was fetched meanwhile."""
    async with running(topic.member()) as member:
        member.consumer.allow(1000)
        waits = []
        for count in range(1, 7):
            member.consumer.pause(frozenset(topic.of(*range(PARTITIONS))), lambda: None)
            await asyncio.sleep(0.6)  # until there is no fetch under way any more
            topic.produce(1, [0])
            began = time.monotonic()
            member.consumer.pause(frozenset(), lambda: None)
            await member.until(lambda: len(member.values) == count, "it is read")  # noqa: B023
            waits.append(time.monotonic() - began)
        assert median(waits) < 0.2 * await slowness()


@pytest.mark.alone
async def test_partitions_that_stay_are_hardly_held_up_and_those_that_move_not_for_long(topic: Topic) -> None:
    async def slowly(_: frozenset[Partition]) -> None:
        await asyncio.sleep(0.2)

    writing = asyncio.create_task(topic.write_on())
    async with running(topic.member()) as first:
        first.on_revoke = slowly
        first.consumer.allow(1_000_000)
        await first.until(lambda: len(first.came) == PARTITIONS, "all are read")
        began = time.monotonic()
        async with running(topic.member()) as second:
            second.consumer.allow(1_000_000)
            await second.until(lambda: len(second.came) == 2, "the load is shared")
            shared_s = time.monotonic() - began
            await asyncio.sleep(1)
            stayed = first.assigned.copy()
    writing.cancel()
    slow = await slowness()
    assert shared_s < 2 * slow
    for each in stayed:
        assert max(later - sooner for sooner, later in pairwise(first.came[each])) < 0.6 * slow


async def test_partitions_that_stay_are_read_while_others_move(topic: Topic) -> None:
    async with running(topic.member()) as first:
        first.consumer.allow(10_000)
        await first.until(lambda: len(first.assigned) == PARTITIONS, "it has all")
        released = asyncio.Event()

        async def slowly(_: frozenset[Partition]) -> None:
            assert await first.consumer.commit(
                dict.fromkeys(first.revoked[-1], OffsetAndMetadata(1, "of ours"))
            )
            released.set()

        topic.produce(1)
        await first.until(lambda: len(first.values) == PARTITIONS, "all are read")
        first.on_revoke = slowly
        async with running(topic.member()) as second:
            await second.until(lambda: len(second.assigned) == 2, "the load is shared")
            assert released.is_set()
            assert first.revoked == [frozenset(second.assigned)]  # and nothing else was ever taken away
            topic.produce(1)
            stayed = first.assigned
            await first.until(lambda: all(first.read[each] == [0, 1] for each in stayed), "they went on")
        queries = OffsetQueries(topic.settings)
        committed = await queries.committed(topic.of(*range(PARTITIONS)))
        await queries.close()
        assert committed == dict.fromkeys(stayed) | dict.fromkeys(
            first.revoked[0], OffsetAndMetadata(1, "of ours")
        )


async def test_what_is_to_be_read_anew_while_partitions_move_is_so_when_they_have_moved(topic: Topic) -> None:
    """The call in which they move may return what was read before. What was read ahead by then, and is not
    allowed yet, is dropped as ever."""
    topic.produce(3)
    first = topic.member()
    begun = asyncio.Event()

    def begin() -> None:
        first.read.clear()
        begun.set()

    async def read_again(_: frozenset[Partition]) -> None:
        first.consumer.read_from(dict.fromkeys(first.assigned, 1), begin)
        await asyncio.sleep(0.3)
        assert not begun.is_set()

    async with running(first):
        first.consumer.allow(1)
        await first.until(lambda: first.values, "the first one")
        await asyncio.sleep(1)
        first.on_revoke = read_again
        async with running(topic.member()):
            await first.until(begun.is_set, "it begins anew")
            first.consumer.allow(100)
            await first.until(lambda: sum(map(len, first.read.values())) >= 4, "all are read")
            await asyncio.sleep(0.2)
            assert first.read == {each: [1, 2] for each in first.assigned}


async def test_a_commit_that_is_under_way_when_partitions_are_to_move_is_answered(topic: Topic) -> None:
    """Its own answer would be told after the revocation, which waits for it."""
    first, second = topic.member(), topic.member()
    commits: list[asyncio.Task[frozenset[Partition]]] = []

    def commit() -> None:
        offsets = {each: OffsetAndMetadata(len(commits), "") for each in topic.of(*range(PARTITIONS))}
        commits.append(asyncio.create_task(first.consumer.commit(offsets)))

    async def commit_on() -> None:
        while True:
            if sum(not each.done() for each in commits) < 3:
                commit()
            await asyncio.sleep(0.001)

    async def commit_last(_: frozenset[Partition]) -> None:
        committing.cancel()
        commit()
        await asyncio.gather(*commits)

    async with running(first):
        committing = asyncio.create_task(commit_on())
        first.on_revoke = commit_last  # raises where one was given up
        async with running(second):
            assert await commits[-1] == topic.of(*range(PARTITIONS))


async def test_what_is_no_longer_ours_is_not_committed(topic: Topic) -> None:
    """Kafka would take it, and set back what its owner has committed."""
    offsets = {each: OffsetAndMetadata(1, "") for each in topic.of(*range(PARTITIONS))}
    async with running(topic.member()) as first, running(topic.member()) as second:
        await first.until(lambda: len(first.assigned) == len(second.assigned), "each has its part")
        assert await first.consumer.commit(offsets) == first.assigned
        assert await second.consumer.commit(dict.fromkeys(first.assigned, OffsetAndMetadata(0, ""))) == set()


async def test_what_is_no_longer_ours_is_not_read(topic: Topic) -> None:
    """It was still ours when it was asked for."""
    async with running(topic.member()) as first:
        first.consumer.allow(1000)
        async with running(topic.member()) as second:
            await second.until(lambda: len(second.assigned) == 2, "the load is shared")
            begun = asyncio.Event()
            first.consumer.read_from(dict.fromkeys(topic.of(*range(PARTITIONS)), 0), begun.set)
            await begun.wait()
            topic.produce(1)
            await first.until(lambda: len(first.read) >= len(first.assigned), "its own are read")
            await asyncio.sleep(0.5)
            assert first.read.keys() == first.assigned


async def test_who_comes_back_has_its_partitions_and_its_last_process_none(topic: Topic) -> None:
    async with running(topic.member("other")) as other:
        last = topic.member("the-same")
        ending = asyncio.create_task(last.run())
        await other.until(lambda: len(last.assigned) == len(other.assigned) == 2, "the load is shared")
        last.consumer.allow(1)
        moves = len(other.revoked)
        begun = time.monotonic()
        async with running(topic.member("the-same")) as member:
            assert time.monotonic() - begun < topic.settings.session_timeout_ms / 1000 / 2
            assert member.assigned == last.assigned
            with pytest.raises(FencedError):
                await asyncio.wait_for(ending, PATIENCE_S)
            await asyncio.sleep(1)
            assert (len(member.assigned), member.revoked) == (2, [])
        assert len(other.revoked) == moves


async def test_who_leaves_is_replaced_at_once(topic: Topic) -> None:
    async with running(topic.member()):
        second = topic.member()
        async with running(second):
            pass
        third = topic.member()
        async with running(third):
            pass
    begun = time.monotonic()
    async with running(topic.member()) as last:
        await last.until(lambda: len(last.assigned) == PARTITIONS, "it has all")
    assert time.monotonic() - begun < topic.settings.session_timeout_ms / 1000


async def test_what_is_owned_is_known_while_the_group_is_at_rest(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_queries, "_CALL_S", PATIENCE_S)
    assert await owned_partitions(topic.settings) is None, "there is no such group yet"
    all_ = frozenset(topic.of(*range(PARTITIONS)))
    letting_go = asyncio.Event()
    one, two = topic.member(), topic.member()
    one.on_revoke = lambda _: letting_go.wait()
    async with running(one):
        assert await owned_partitions(topic.settings) == all_
        joining = asyncio.create_task(two.run())
        await one.until(lambda: one.revoked, "it is to give some away")
        assert await owned_partitions(topic.settings) == frozenset(one.assigned)
        letting_go.set()
        await two.until(lambda: len(two.assigned) == 2, "the load is shared")
        assert await owned_partitions(topic.settings) == all_
        joining.cancel()
        await asyncio.wait([joining])


async def test_what_is_owned_is_not_told_by_everybody(names: Names) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with embedded_kafka([names.topic()]) as stand_in:
        for address in (nobody, stand_in):
            assert await owned_partitions(KafkaSettings(bootstrap_servers=address)) is None


async def test_who_asks_may_be_cancelled_while_the_client_closes(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is suppressed there."""
    close = AIOKafkaClient.close

    async def cancel_and_close(client: AIOKafkaClient) -> None:
        asyncio.get_running_loop().call_soon(asking.cancel)
        await close(client)

    monkeypatch.setattr(AIOKafkaClient, "close", cancel_and_close)
    asking = asyncio.create_task(owned_partitions(topic.settings))
    await asyncio.wait([asking], timeout=20)
    assert asking.cancelled()


async def test_a_kafka_that_dies_while_it_is_asked_ends_nobody(
    kafka_factory: KafkaFactory, names: Names
) -> None:
    """Asked the same, librdkafka ended the process or never answered again, where Kafka was away for longer
    than its questions wait."""
    server = kafka_factory()
    topic = Topic(server, names)
    all_ = frozenset(topic.of(*range(PARTITIONS)))
    said: list[frozenset[Partition] | None] = []

    async def ask() -> None:
        while True:
            said.append(await owned_partitions(topic.settings))
            await asyncio.sleep(0.01)

    async with running(topic.member()) as member:
        asking = [asyncio.create_task(ask()) for _ in range(3)]
        await member.until(lambda: all_ in said, "it is told")
        await asyncio.to_thread(server.stop)
        await member.until(lambda: said[-1] is None, "nobody tells")
        await asyncio.sleep(_AWAY_S)
        await asyncio.to_thread(server.start)
        said.clear()
        await member.until(lambda: all_ in said, "it is told again")
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)


async def test_tls_and_a_password(
    secure_kafka: SecureKafka, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_queries, "_CALL_S", PATIENCE_S)
    plain = Topic(secure_kafka.server, names)
    plain.produce(2, [0])
    secure: Mapping[str, Any] = {
        "bootstrap_servers": secure_kafka.bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": secure_kafka.username,
        "sasl_password": SecretStr(secure_kafka.password),
        "ssl_cafile": secure_kafka.authority,
    }
    settings = plain.settings.model_copy(update=secure)
    async with running(Member(settings, plain.name, "an-id")) as member:
        member.consumer.allow(10)
        await member.until(lambda: member.values == [b"0", b"1"], "all are read")
        queries = OffsetQueries(settings)
        assert await queries.ends(plain.of(0)) == {(plain.name, 0): 2}
        await queries.close()
        assert await owned_partitions(settings) == frozenset(plain.of(*range(PARTITIONS)))


@pytest.mark.parametrize(
    "event", ["on_assigned", "on_revoked", "on_records", "on_caught_up", "begun", "paused"]
)
async def test_an_event_that_raises_ends_the_membership(topic: Topic, event: str) -> None:
    """Whatever was told is not known then, and only a new membership is told again."""

    def raise_in(name: str) -> None:
        if name == event:
            raise LookupError(name)

    async def on_revoked(_: frozenset[Partition]) -> None:
        raise_in("on_revoked")

    def on_assigned(partitions: frozenset[Partition]) -> None:
        raise_in("on_assigned")
        consumer.read_from(dict.fromkeys(partitions, 0), lambda: raise_in("begun"))
        consumer.pause(frozenset(), lambda: raise_in("paused"))
        consumer.allow(10)
        assigned.set()

    consumer, assigned = GroupConsumer(topic.settings, "member", "an-id", [topic.name], {}), asyncio.Event()
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    topic.transaction(1, 0)  # its marker is what makes an end worth telling
    work = consumer.run(
        GroupEvents(
            on_assigned=on_assigned,
            on_revoked=on_revoked,
            on_lost=nothing,
            on_unreadable=nothing,
            on_records=lambda _: raise_in("on_records"),
            on_caught_up=lambda _: raise_in("on_caught_up"),
        )
    )
    task = asyncio.create_task(work)
    if event == "on_revoked":
        await assigned.wait()
        async with running(topic.member()):
            pass
    with pytest.raises(LookupError, match=event):
        await asyncio.wait_for(task, PATIENCE_S)


async def test_options_that_librdkafka_refuses(names: Names) -> None:
    settings = KafkaSettings.model_validate({"security_protocol": "SSL", "ssl_cafile": "/nowhere"})
    with pytest.raises(KafkaUnavailableError, match="ssl"):
        await Member(settings, names.topic(), "an-id").run()


async def test_what_is_complained_of_again_and_again_is_told_once(topic: Topic) -> None:
    """As a client may that finds a topic gone with every answer, 900 times a second."""
    nothing: Callable[..., Any] = lambda *_: None  # noqa: E731
    thread = ConsumerThread(
        group_options(topic.settings, "member", "an-id"),
        topics=[topic.name],
        topic_ids={},
        linger_s=0,
        events=GroupEvents(nothing, nothing, nothing, nothing, nothing, nothing),
        on_end=nothing,
    )
    with capture_logs() as lines:
        for _ in range(900):
            thread._take_error(topic.name, 0, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            thread._take_error("another", 0, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            thread._failed(KafkaError(KafkaError._TRANSPORT))
    assert [line["topic"] for line in lines] == [topic.name, "another", None]
