"""Kafka's clients as Doorstep uses them, on the simulated broker: each has the calls of its original."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from doorstep.actors.kafka.consumer_thread import CommitAnswer, GroupEvents
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.topic_queries import Topic
from doorstep.actors.records import OffsetAndMetadata, Partition, StoredRecord, TopicIds
from tests.simulation.kafka import HOST, Broker, Kept, Seat, Told
from tests.simulation.loop import current, resolve
from tests.simulation.network import Network, Way

_REVOKE_S = 8.0
_FETCH_WAIT_S = 0.5
_AT_ONCE = 50
_ANSWER_LOST_S = 1.0

Held = tuple[Partition, int, Kept | None]
"""A record that was fetched; or, without one, the end of a partition."""


class Kafka:
    """The broker, and the way to it."""

    def __init__(self, network: Network, broker: Broker) -> None:
        self.network = network
        self.broker = broker

    def check(self) -> None:
        """Raises `KafkaException` where the broker can't be asked."""
        process = current()
        assert process is not None
        if self.network.are_apart(process.host, HOST):
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    async def in_a_thread(self, question: Callable[[], Any]) -> Any:
        """What is asked in another thread takes a moment."""
        await asyncio.sleep(self.network.latency())
        answer = question()
        await asyncio.sleep(self.network.latency())
        return answer

    async def read_whole(
        self,
        _: object,
        partitions: Collection[Partition],
        sound: Callable[[Collection[Partition]], Collection[Partition]],
    ) -> AsyncGenerator[Sequence[StoredRecord], None]:
        """See `doorstep.actors.kafka.whole_reader`."""
        for topic, number in sound(partitions):
            await asyncio.sleep(self.network.latency())
            try:
                self.check()
            except KafkaException as error:
                raise KafkaUnavailableError(str(error)) from error
            log = self.broker.logs[topic, number]
            yield [kept.at(topic, number, offset, "") for offset, kept in enumerate(log)]

    async def owned_partitions(self, _: object) -> frozenset[Partition] | None:
        """See `doorstep.actors.kafka.group_queries`."""
        try:
            await self.in_a_thread(self.check)
        except KafkaException:
            return None
        return self.broker.owned


class ConsumerThread:
    """Stands for `doorstep.actors.kafka.consumer_thread.ConsumerThread`, and librdkafka in it: what a thread
    does there, a task does here."""

    def __init__(
        self,
        kafka: Kafka,
        options: Mapping[str, Any],
        *,
        topics: Collection[str],
        topic_ids: TopicIds,
        linger_s: float,
        events: GroupEvents,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        process = current()
        assert process is not None
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._kafka = kafka
        self._instance_id = options["group.instance.id"]
        self._up = Way(kafka.network, process.host, HOST)
        self._topics = topics
        self._topic_ids = topic_ids
        self._events = events
        self._on_end = on_end
        self._linger_s = linger_s
        self._seat: Seat | None = None
        self._generation = 0
        self._told: deque[Told] = deque()
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = asyncio.Event()
        self._granted = 0
        self._handed = 0
        self._assigned: set[Partition] = set()
        self._rebalancing = False
        self._put_off: list[Callable[[], None]] = []
        self._positions: dict[Partition, int] = {}
        """Of the partitions that are read."""
        self._epochs: defaultdict[Partition, int] = defaultdict(int)
        self._ends_told: dict[Partition, int] = {}
        self._paused: frozenset[Partition] = frozenset()
        self._fetchable = asyncio.Event()
        self._held: list[Held] = []
        self._ending = False

    def start(self) -> None:
        """Join the group."""
        self._tasks = [self._loop.create_task(work()) for work in (self._run, self._fetch, self._beat)]

    def end(self) -> None:
        """Leave the group."""
        self._ending = True
        self._wake.set()

    def grant(self, records: int) -> None:
        """As many records may be handed over in all."""
        self._granted = records
        self._wake.set()

    def read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        """Read these from there."""
        self._wish(lambda: self._read_from(starts, begun))

    def pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        """Fetch nothing of these."""
        self._wish(lambda: self._pause(partitions, done))

    def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> asyncio.Future[CommitAnswer]:
        """What comes of it."""
        done: asyncio.Future[CommitAnswer] = self._loop.create_future()
        self._wish(lambda: self._commit(offsets, done))
        return done

    def _wish(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._wake.set()

    # The thread

    async def _run(self) -> None:
        self._join()
        while not self._ending:
            granted = self._granted
            self._obey()
            while self._told and not self._ending:
                await self._handle(self._told.popleft())
            if self._held and granted > self._handed:
                self._hand_over(granted - self._handed)
                await asyncio.sleep(self._linger_s)
            elif not (self._commands or self._put_off):
                await self._wake.wait()
                self._wake.clear()
        for task in self._tasks[1:]:
            task.cancel()
        if self._seat is not None:
            seat = self._seat
            self._up.send(lambda: self._kafka.broker.leave(seat))
        await asyncio.sleep(self._kafka.network.latency())
        self._on_end(None)

    def _obey(self) -> None:
        if not self._rebalancing:
            put_off, self._put_off = self._put_off, []
            for command in put_off:
                command()
        while self._commands:
            self._commands.popleft()()

    def _join(self) -> None:
        self._up.send(self._be_seated)

    def _be_seated(self) -> None:
        if self._process.is_alive and not self._ending:
            self._seat = self._kafka.broker.join(
                self._process, self._instance_id, self._topics, self._be_told
            )

    def _be_told(self, seat: Seat, told: Told) -> None:
        if seat is self._seat:
            self._told.append(told)
            self._wake.set()

    async def _handle(self, told: Told) -> None:
        self._generation = told.generation
        match told.what:
            case "assigned":
                self._assigned |= told.partitions
                self._loop.call_soon(self._events.on_assigned, told.partitions)
            case "stays":
                self._loop.call_soon(self._events.on_assigned, frozenset())
            case "revoked":
                await self._let_go(told.partitions)
                self._loop.call_soon(self._events.on_assigned, frozenset())
            case "expelled":
                lost, self._assigned = frozenset(self._assigned), set()
                self._forget(lost)
                self._told.clear()
                self._seat = None
                self._loop.call_soon(self._events.on_lost, lost)
                self._join()

    async def _let_go(self, partitions: frozenset[Partition]) -> None:
        """Wait for the loop to finish what it has of these, and carry out what it wishes for that."""
        finishing = asyncio.ensure_future(self._events.on_revoked(partitions))
        finishing.add_done_callback(lambda _: self._wake.set())
        deadline = self._loop.time() + _REVOKE_S
        self._rebalancing = True
        while not finishing.done() and not self._ending and self._loop.time() < deadline:
            self._obey()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            self._wake.clear()
        self._rebalancing = False
        finishing.cancel()
        self._assigned -= partitions
        self._forget(partitions)
        seat = self._seat
        if seat is not None:
            self._up.send(lambda: self._kafka.broker.give_back(seat, partitions))

    def _forget(self, partitions: Collection[Partition]) -> None:
        for each in partitions:
            self._positions.pop(each, None)
            self._epochs[each] += 1

    def _read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        if self._rebalancing:
            self._put_off.append(partial(self._read_from, starts, begun))
            return
        starts = {each: starts[each] for each in self._assigned & starts.keys()}
        self._forget(starts)
        self._held = [each for each in self._held if each[0] not in starts]
        self._loop.call_soon(begun)
        self._positions |= starts
        for each in starts:
            self._ends_told.pop(each, None)
        self._fetchable.set()

    def _pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        self._paused = partitions
        self._loop.call_soon(done)
        self._fetchable.set()

    def _commit(
        self, offsets: Mapping[Partition, OffsetAndMetadata], done: asyncio.Future[CommitAnswer]
    ) -> None:
        """Of what is ours yet, by the way that keeps its order: there, and back."""
        offsets = {each: commit for each, commit in offsets.items() if each in self._assigned}
        network, seat, generation = self._kafka.network, self._seat, self._generation

        def answered(answer: CommitAnswer) -> None:
            if not done.done():
                done.set_result(answer)

        def arrived() -> None:
            assert seat is not None
            broker = self._kafka.broker
            answer: CommitAnswer = broker.commit(seat, generation, offsets)
            late_s = 0.0
            if broker.loses_answers:
                answer, late_s = dict.fromkeys(offsets, KafkaError(KafkaError._TRANSPORT)), _ANSWER_LOST_S
            back = Way(network, HOST, self._process.host)
            network.later(late_s, back.send, lambda: network.soon(self._process, answered, answer))

        if seat is None:
            self._loop.call_soon(answered, dict.fromkeys(offsets, KafkaError(KafkaError._WAIT_COORD)))
        else:
            self._up.send(arrived)

    def _hand_over(self, room: int) -> None:
        handed, self._held = self._held[:room], self._held[room:]
        batch: defaultdict[Partition, list[StoredRecord]] = defaultdict(list)
        ends: dict[Partition, int] = {}
        for partition, offset, kept in handed:
            if partition not in self._positions:
                continue
            if kept is None:
                ends[partition] = offset
            else:
                topic_id = self._topic_ids.get(partition[0], "")
                batch[partition].append(kept.at(*partition, offset, topic_id))
        self._handed += sum(map(len, batch.values()))
        if batch:
            self._loop.call_soon(self._events.on_records, dict(batch))
        if ends:
            self._loop.call_soon(self._events.on_caught_up, ends)

    # librdkafka's own threads

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            seat = self._seat
            if seat is not None:
                self._up.send(partial(self._kafka.broker.hear, seat))

    async def _fetch(self) -> None:
        network, host = self._kafka.network, self._process.host
        while True:
            wanted = {each: at for each, at in self._positions.items() if each not in self._paused}
            epochs = {each: self._epochs[each] for each in wanted}
            if not wanted:
                self._fetchable.clear()
                await self._fetchable.wait()
                continue
            await network.travel(host, HOST)
            if not any(len(self._kafka.broker.logs[each]) > at for each, at in wanted.items()):
                await self._wait_for_more(any(self._ends_told.get(each) != at for each, at in wanted.items()))
            fetched = {each: self._log(each)[at:][:_AT_ONCE] for each, at in wanted.items()}
            ends = {each: len(self._log(each)) for each in wanted}
            await network.travel(HOST, host)
            for each, records in fetched.items():
                if self._epochs[each] == epochs[each]:
                    self._hold(each, records, ends[each])
            self._wake.set()

    def _log(self, partition: Partition) -> list[Kept]:
        return self._kafka.broker.logs[partition]

    async def _wait_for_more(self, has_news: bool) -> None:
        if has_news:
            return
        more = self._loop.create_future()
        self._kafka.broker.when_more(partial(resolve, more))
        await asyncio.wait([more], timeout=_FETCH_WAIT_S)

    def _hold(self, partition: Partition, records: Sequence[Kept], end: int) -> None:
        """What comes of a partition that has been paused meanwhile is fetched again."""
        if partition in self._paused:
            return
        at = self._positions[partition]
        self._held += [(partition, at + nth, kept) for nth, kept in enumerate(records)]
        self._positions[partition] = at = at + len(records)
        if at == end and self._ends_told.get(partition) != end:
            self._ends_told[partition] = end
            self._held.append((partition, end, None))


class QueryConsumer:
    """Stands for the consumer of librdkafka that `OffsetQueries` asks."""

    def __init__(self, kafka: Kafka, _options: Mapping[str, Any]) -> None:
        self._kafka = kafka

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """All topics."""
        self._kafka.check()
        topics = {
            topic: SimpleNamespace(partitions={number: SimpleNamespace(leader=0) for number in numbers})
            for topic, numbers in self._kafka.broker.topics.items()
        }
        return SimpleNamespace(topics=topics)

    def committed(self, asked: Sequence[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        """The group's commits."""
        self._kafka.check()
        found = []
        for each in asked:
            commit = self._kafka.broker.commits.get((each.topic, each.partition))
            found.append(TopicPartition(each.topic, each.partition, *(commit or (-1001,))))
        return found

    def offsets_for_times(self, asked: Sequence[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        """Beginnings and ends."""
        self._kafka.check()
        return [
            TopicPartition(
                each.topic,
                each.partition,
                0
                if each.offset == OFFSET_BEGINNING
                else len(self._kafka.broker.logs[each.topic, each.partition]),
            )
            for each in asked
        ]

    def close(self) -> None:
        """Ask nothing more."""


class TopicQueries:
    """Stands for `doorstep.actors.kafka.topic_queries.TopicQueries`: all is well with all topics."""

    def __init__(self, kafka: Kafka, _settings: object) -> None:
        self._kafka = kafka

    async def describe(self, read: Collection[str], written: Collection[str]) -> dict[str, Topic]:
        """Each topic."""
        await self.check()
        numbers = self._kafka.broker.topics
        return {
            name: Topic(None, f"id-of-{name.replace('.', '-')}", len(numbers[name]))
            for name in (*read, *written)
        }

    async def check(self) -> None:
        """Raises `KafkaUnavailableError`."""
        try:
            await self._kafka.in_a_thread(self._kafka.check)
        except KafkaException as error:
            raise KafkaUnavailableError(str(error)) from error


class LetterProducer:
    """Stands for librdkafka's producer, as `DeadLetterProducer` uses it."""

    def __init__(self, kafka: Kafka, _options: Mapping[str, Any]) -> None:
        self._kafka = kafka

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        *,
        headers: Sequence[tuple[str, bytes | None]],
        on_delivery: Callable[[KafkaError | None, None], None],
    ) -> None:
        """Keep a record, or tell why not."""
        try:
            self._kafka.check()
        except KafkaException as error:
            on_delivery(error.args[0], None)
            return
        self._kafka.broker.append((topic, 0), Kept(key, value, headers))
        on_delivery(None, None)

    def flush(self) -> None:
        """All was told at once."""

    def purge(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Send nothing more."""
