"""The thread that makes all calls to librdkafka's consumer.

The consumer is for one thread: a call from another one waits until the call that waits for records returns.
So the event loop leaves its wishes in a queue, and the thread looks there between two reads, twenty times a
second when nothing comes. A record that comes ends the wait at once.
"""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from doorstep.actors.kafka.received import record_of
from doorstep.actors.records import OffsetAndMetadata, Partition, StoredRecord, TopicIds

_WAIT_S = 0.05
_MOST = 1000
"""Records of one batch."""
_PIECE = 100
"""Records that the loop is given at a time: about a millisecond's work, and then others have their turn."""
_REVOKE_S = 8.0
"""So long a revocation waits for the loop, which has a shorter limit of its own."""
_LEAVE_S = 1.0
_SILENT_S = 30.0
_UNREADABLE = frozenset((KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION))
"""Said of what Kafka has in the place of records."""

_Command = Callable[[], None]

Batch = Mapping[Partition, list[StoredRecord]]
"""Records by partition, each partition's in order."""

CommitAnswer = Mapping[Partition, KafkaError | None]
"""By partition, why its offset was not committed; None where it was."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GroupEvents:
    """Who is told what, in the event loop. What one of them raises ends the membership."""

    on_assigned: Callable[[frozenset[Partition]], None]
    """These have been added. Nothing is read of them before `read_from`."""
    on_revoked: Callable[[frozenset[Partition]], Awaitable[None]]
    """These are to go to others; they go when this returns, or some seconds later."""
    on_lost: Callable[[frozenset[Partition]], None]
    """These have gone to others already."""
    on_unreadable: Callable[[Partition, str], None]
    """What comes next of this one can't be read, and why. No more is read of it before `read_from`."""
    on_records: Callable[[Batch], None]
    on_caught_up: Callable[[Mapping[Partition, int]], None]
    """Every record of these before these offsets has come. Told where that is further than the last record:
    after it are markers of transactions, and records of aborted ones."""


class ConsumerThread:
    """A thread with a consumer. What is public is called from the event loop."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        topics: Collection[str],
        topic_ids: TopicIds,
        linger_s: float,
        events: GroupEvents,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """For `topic_ids` see `GroupConsumer`. `on_end` is called when the thread has ended, and nothing
        after it; and for whatever an event raises. Raises `KafkaException` for options that librdkafka
        refuses."""
        self._loop = asyncio.get_running_loop()
        self._consumer = Consumer({**options, "on_commit": self._committed, "error_cb": self._failed})
        self._topics = topics
        self._topic_ids = topic_ids
        self._events = events
        self._on_end = on_end
        self._linger_s = linger_s
        self._commands: SimpleQueue[_Command] = SimpleQueue()
        self._granted = 0
        """How many records may have been handed over, since the beginning."""
        self._handed = 0
        self._starving = False
        self._handed_at = float("-inf")
        self._held: list[Message] = []
        """Read, but not to be handed over yet."""
        self._assigned: set[Partition] = set()
        self._reached: dict[Partition, int] = {}
        """The partitions that are read, and how far they were."""
        self._unreadable: dict[Partition, str] = {}
        self._paused: frozenset[Partition] = frozenset()
        self._resumed: set[Partition] = set()
        """What librdkafka is to fetch again after a pause, as soon as it notices."""
        self._rebalancing = False
        self._put_off: list[_Command] = []
        """What is to be read anew, wished within a rebalance: it waits until that is over."""
        self._commits: deque[tuple[list[TopicPartition], asyncio.Future[CommitAnswer]]] = deque()
        """Under way. Answers come in the order of the questions."""
        self._complaints: dict[str, float] = {}
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="kafka", daemon=True)

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def end(self) -> None:
        """Leave the group. No event comes any more but the end."""
        self._ending = True
        self._commands.put(_nothing)

    def grant(self, records: int) -> None:
        """As many records may be handed over in all, since the beginning."""
        self._granted = records
        if self._starving:
            self._commands.put(_nothing)

    def read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        """Read these from there, whether they were read before or not.

        `begun` is called after the last record that was read before, and before the first one of now; never
        within a rebalance.
        """
        self._commands.put(lambda: self._read_from(starts, begun))

    def pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        """Fetch nothing of these, and everything of the others; `done` is called when it is so."""
        self._commands.put(lambda: self._pause(partitions, done))

    def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> asyncio.Future[CommitAnswer]:
        """What comes of it, of each partition."""
        done = self._loop.create_future()
        self._commands.put(lambda: self._commit(offsets, done))
        return done

    # All that follows is done by the thread.

    def _run(self) -> None:
        fault: BaseException | None = None
        try:
            self._consumer.subscribe(
                list(self._topics),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not self._ending:
                # Taken before the wishes are: a pause that comes before a grant is obeyed first.
                granted = self._granted
                self._obey()
                self._wake()
                self._read(granted)
        except Exception as error:  # whatever it is, only a new membership can help
            fault = error
        finally:
            self._ending = True
            self._leave()
            self._tell(self._on_end, fault)

    def _leave(self) -> None:
        """Who has an instance id and only closes is a member until the session ends. So unsubscribe first,
        and go on until all that we had is taken away."""
        deadline = time.monotonic() + _LEAVE_S
        with suppress(KafkaException):  # a fatal error: we are no member any more
            self._consumer.unsubscribe()
            while self._assigned and time.monotonic() < deadline:
                self._consumer.consume(1, _WAIT_S)
        self._consumer.close()

    def _tell(self, event: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heed, event, *arguments)
        except RuntimeError:  # the loop has ended before us
            self._ending = True

    def _heed(self, event: Callable[..., None], *arguments: Any) -> None:
        """In the event loop, which would only log an error, and go on as if nothing had been told."""
        try:
            event(*arguments)
        except Exception as error:
            self._on_end(error)

    async def _heed_revocation(self, gone: frozenset[Partition]) -> None:
        try:
            await self._events.on_revoked(gone)
        except Exception as error:
            self._on_end(error)

    def _obey(self, wait_s: float = 0) -> None:
        """Carry out what is wished; where nothing is, wait for it."""
        if not self._rebalancing:
            put_off, self._put_off = self._put_off, []
            for command in put_off:
                command()
        try:
            if wait_s:
                self._commands.get(timeout=wait_s)()
            while not self._commands.empty():
                self._commands.get_nowait()()
        except Empty:
            return

    def _wake(self) -> None:
        """Fetch what was resumed at once. librdkafka tells nobody of it: a broker of which it fetches nothing
        else is asked up to a second later."""
        resumed = self._resumed & self._reached.keys() - self._paused
        self._resumed.clear()
        if not resumed:
            return
        following = {each: self._reached[each] for each in resumed}
        for message in self._held:
            topic, number, offset = message.topic(), message.partition(), message.offset()
            if topic is None or number is None or offset is None or message.error() is not None:
                continue
            if (topic, number) in resumed:
                following[topic, number] = offset + 1
        for partition, offset in following.items():
            with suppress(KafkaException):  # it is just beginning, and fetched at once by that
                self._consumer.seek(TopicPartition(*partition, offset or OFFSET_BEGINNING))

    def _read(self, granted: int) -> None:
        """Wait for records and hand them over, or wait until they may be handed over.

        Among them is what librdkafka says of partitions: their ends, and what is wrong.

        A call that takes records also lets rebalances go on, so there has to be one now and then.
        """
        room = min(granted - self._handed, _MOST)
        if room <= 0:
            self._starve()
            return
        patience_s = self._handed_at + self._linger_s - time.monotonic()
        if patience_s > 0:
            time.sleep(patience_s)  # not in `consume`, where each record that comes would wake the thread
        self._held = self._held or self._consumer.consume(room, 0) or self._consumer.consume(1, _WAIT_S)
        if self._held and room > len(self._held):
            self._held += self._consumer.consume(room - len(self._held), 0)
        if self._held:
            self._hand_over(room)

    def _starve(self) -> None:
        self._starving = True
        if self._granted <= self._handed:
            self._obey(wait_s=_WAIT_S)
        self._starving = False
        if self._granted <= self._handed:
            self._held += self._consumer.consume(1, 0)

    def _hand_over(self, room: int) -> None:
        messages, self._held = self._held[:room], self._held[room:]
        for first in range(0, len(messages), _PIECE):
            batch, ends = self._sort(messages[first : first + _PIECE])
            if batch:
                self._tell(self._events.on_records, batch)
                self._handed_at = time.monotonic()
            if ends:
                self._tell(self._events.on_caught_up, ends)
            while self._unreadable:
                self._tell(self._events.on_unreadable, *self._unreadable.popitem())

    def _sort(self, messages: Iterable[Message]) -> tuple[Batch, dict[Partition, int]]:
        """The records by partition, and the ends that are further than these; nothing of what is not read.

        librdkafka tells of an end after nearly every record, and nobody needs to hear of most of them.
        """
        batch: defaultdict[Partition, list[StoredRecord]] = defaultdict(list)
        ends: dict[Partition, int] = {}
        for message in messages:
            topic, number, offset = message.topic(), message.partition(), message.offset()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._take_error(topic, number, error)
            elif topic is None or number is None or offset is None or (topic, number) not in self._reached:
                continue
            elif error is None:
                record = record_of(message, (topic, number, offset), self._topic_ids.get(topic, ""))
                batch[topic, number].append(record)
                self._reached[topic, number] = offset + 1
            elif offset > self._reached[topic, number]:
                ends[topic, number] = self._reached[topic, number] = offset
        self._handed += sum(map(len, batch.values()))
        return batch, ends

    def _take_error(self, topic: str | None, number: int | None, error: KafkaError) -> None:
        """Read no more of a partition that can't be read: librdkafka would fetch the same twice a second."""
        self._complain(topic, error)
        if topic is None or number is None or (topic, number) not in self._reached:
            return
        if error.code() in _UNREADABLE:
            self._forget({(topic, number)})
            self._unreadable[topic, number] = error.str()

    # Rebalances, in a call of `consume`. librdkafka pauses what stays, and resumes it once it has our answer.

    def _on_assign(self, consumer: Consumer, added: list[TopicPartition]) -> None:
        consumer.incremental_assign([])  # they are ours, and read when it is known from where
        self._resumed |= self._reached.keys()
        self._assigned |= _named(added)
        if not self._ending:
            self._tell(self._events.on_assigned, _named(added))

    def _on_revoke(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        """Wait for the loop to finish what it has of these, and carry out what it wishes for that."""
        partitions = _named(gone)
        if not self._ending:
            finishing = asyncio.run_coroutine_threadsafe(self._heed_revocation(partitions), self._loop)
            finishing.add_done_callback(lambda _: self._commands.put(_nothing))
            self._wait_for(finishing)
        self._forget(partitions)
        self._resumed |= self._reached.keys()
        self._assigned -= partitions

    def _wait_for(self, finishing: Future[None]) -> None:
        deadline = time.monotonic() + _REVOKE_S
        self._rebalancing = True
        for named, done in self._commits:
            if not done.done():
                self._commit_now(named, done)  # once more, as its answer would come too late
        while not finishing.done() and not self._ending and (left := deadline - time.monotonic()) > 0:
            self._obey(wait_s=left)
        self._rebalancing = False
        if not finishing.done():
            finishing.cancel()

    def _on_lost(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        partitions = _named(gone)
        self._forget(partitions)
        self._assigned -= partitions
        if not self._ending:
            self._tell(self._events.on_lost, partitions)

    def _forget(self, partitions: Collection[Partition]) -> None:
        gone = self._reached.keys() & set(partitions)
        self._consumer.incremental_unassign(_topic_partitions(gone))
        for partition in gone:
            del self._reached[partition]

    # Wishes

    def _read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        """Not within a rebalance: the call that it is part of may return what was read before."""
        if self._rebalancing:
            self._put_off.append(lambda: self._read_from(starts, begun))
            return
        starts = {each: starts[each] for each in self._assigned & starts.keys()}
        self._forget(starts)
        self._reached |= starts
        self._held = [each for each in self._held if (each.topic(), each.partition()) not in starts]
        self._tell(begun)
        self._consumer.incremental_assign([TopicPartition(*each, offset) for each, offset in starts.items()])
        self._consumer.pause(_topic_partitions(self._paused & starts.keys()))

    def _pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        before, self._paused = self._paused, partitions
        resumed = (before - partitions) & self._reached.keys()
        self._consumer.resume(_topic_partitions(resumed))
        self._resumed |= resumed
        self._consumer.pause(_topic_partitions((partitions - before) & self._reached.keys()))
        self._tell(done)

    def _commit(
        self, offsets: Mapping[Partition, OffsetAndMetadata], done: asyncio.Future[CommitAnswer]
    ) -> None:
        """Of what is ours yet: Kafka takes any offset from a member, also of a partition that it has lost.

        While a rebalance is on nobody would be told of an answer, so then it is waited for.
        """
        ours = self._assigned & offsets.keys()
        named = [TopicPartition(*partition, *offsets[partition]) for partition in ours]
        if not named:
            self._answer(done, None, ())
        elif self._rebalancing:
            self._commit_now(named, done)
        else:
            self._begin_to_commit(named, done)

    def _begin_to_commit(self, named: list[TopicPartition], done: asyncio.Future[CommitAnswer]) -> None:
        self._commits.append((named, done))
        try:
            self._consumer.commit(offsets=named, asynchronous=True)
        except KafkaException as error:
            self._commits.pop()
            self._answer(done, error.args[0], named)

    def _commit_now(self, named: list[TopicPartition], done: asyncio.Future[CommitAnswer]) -> None:
        try:
            self._answer(done, None, self._consumer.commit(offsets=named, asynchronous=False))
        except KafkaException as error:
            self._answer(done, error.args[0], named)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        _, done = self._commits.popleft()
        self._answer(done, error, partitions)

    def _answer(
        self,
        done: asyncio.Future[CommitAnswer],
        error: KafkaError | None,
        partitions: Iterable[TopicPartition],
    ) -> None:
        """An error of all is each one's; where all have one of their own, Kafka's client tells the last."""
        answer = {(each.topic, each.partition): each.error or error for each in partitions}
        self._tell(_set_result, done, answer)

    # Complaints

    def _failed(self, error: KafkaError) -> None:
        self._complain(None, error)

    def _complain(self, topic: str | None, error: KafkaError) -> None:
        """librdkafka goes on by itself, with whatever still can; each complaint is logged now and then."""
        if (
            error.fatal() or error.code() == KafkaError._FATAL
        ):  # which a consumer is told as if it could go on
            raise KafkaException(error)
        what, now = f"{topic} {error.name()}", time.monotonic()
        if now - self._complaints.get(what, float("-inf")) > _SILENT_S:
            self._complaints[what] = now
            logger.warning("kafka_complaint", topic=topic, reason=error.str())


def _nothing() -> None:
    """A wish that only wakes the thread."""


def _set_result(future: asyncio.Future[CommitAnswer], result: CommitAnswer) -> None:
    if not future.done():
        future.set_result(result)


def _named(partitions: Iterable[TopicPartition]) -> frozenset[Partition]:
    return frozenset((each.topic, each.partition) for each in partitions)


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*each) for each in partitions]
