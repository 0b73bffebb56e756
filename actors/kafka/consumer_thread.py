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
from dataclasses import dataclass
from operator import methodcaller
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from doorstep.actors.records import Headers, OffsetAndMetadata, Partition, StoredRecord, TopicIds

_WAIT_S = 0.05
_MOST = 1000
"""Records of one batch."""
_PIECE = 100
"""Records that the loop is given at a time: about a millisecond's work, and then others have their turn."""
_REVOKE_S = 8.0
"""So long a revocation waits for the loop, which has a shorter limit of its own."""
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
    """Who is told what, in the event loop."""

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
    """Every record of these before these offsets has come; what is left are markers of transactions, and
    records of aborted ones."""


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
        after it. Raises `KafkaException` for options that librdkafka refuses."""
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
        self._reading: set[Partition] = set()
        self._unreadable: dict[Partition, str] = {}
        self._paused: frozenset[Partition] = frozenset()
        self._rebalancing = False
        self._commits: deque[asyncio.Future[CommitAnswer]] = deque()
        """Answers come in the order of the questions."""
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

        `begun` is called after the last record that was read before, and before the first one of now.
        """
        self._commands.put(lambda: self._read_from(starts, begun))

    def pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        """Fetch nothing of these, and everything of the others; `done` is called when it is so."""
        self._commands.put(lambda: self._pause(partitions, done))

    def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> asyncio.Future[CommitAnswer]:
        """What comes of it, of each partition."""
        done = self._loop.create_future()
        self._commands.put(lambda: self._begin_commit(offsets, done))
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
                self._read(granted)
        except Exception as error:  # whatever it is, only a new membership can help
            fault = error
        finally:
            self._ending = True
            self._consumer.close()
            self._tell(self._on_end, fault)

    def _tell(self, event: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(event, *arguments)
        except RuntimeError:  # the loop has ended before us
            self._ending = True

    def _obey(self, wait_s: float = 0) -> None:
        """Carry out what is wished; where nothing is, wait for it."""
        try:
            if wait_s:
                self._commands.get(timeout=wait_s)()
            while not self._commands.empty():
                self._commands.get_nowait()()
        except Empty:
            return

    def _read(self, granted: int) -> None:
        """Wait for records and hand them over, or wait until they may be handed over.

        A call that takes records also lets rebalances go on, so there has to be one now and then.
        """
        room = min(granted - self._handed, _MOST)
        if room <= 0:
            self._starve()
            return
        patience_s = self._handed_at + self._linger_s - time.monotonic()
        if patience_s > 0:
            time.sleep(patience_s)  # not in `consume`, where each record that comes would wake the thread
        self._held = self._held or self._consume(room, 0) or self._consume(1, _WAIT_S)
        if self._held and room > len(self._held):
            self._held += self._consume(room - len(self._held), 0)
        if self._held:
            self._hand_over(room)

    def _starve(self) -> None:
        self._starving = True
        if self._granted <= self._handed:
            self._obey(wait_s=_WAIT_S)
        self._starving = False
        if self._granted <= self._handed:
            self._held += self._consume(1, 0)

    def _consume(self, most: int, wait_s: float) -> list[Message]:
        """Records, and among them what librdkafka says of partitions: their ends, and what is wrong."""
        messages = self._consumer.consume(most, wait_s)
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._complain(message.topic(), error)
        return messages

    def _hand_over(self, room: int) -> None:
        messages, self._held = self._held[:room], self._held[room:]
        for first in range(0, len(messages), _PIECE):
            piece = messages[first : first + _PIECE]
            batch, ends = self._by_partition(piece), self._ends(piece)
            if batch:
                self._tell(self._events.on_records, batch)
                self._handed_at = time.monotonic()
            if ends:
                self._tell(self._events.on_caught_up, ends)
            while self._unreadable:
                self._tell(self._events.on_unreadable, *self._unreadable.popitem())

    def _by_partition(self, messages: Iterable[Message]) -> Batch:
        """As records of the partitions that are read; those of others came before they were taken away."""
        batch: defaultdict[Partition, list[StoredRecord]] = defaultdict(list)
        reading = self._reading
        for message in messages:
            topic, number, offset = message.topic(), message.partition(), message.offset()
            if topic is None or number is None or offset is None:
                continue
            if (error := message.error()) is not None:
                self._end_unreadable((topic, number), error)
            elif (topic, number) in reading:
                key, value, headers = message.key(), message.value(), _headers(message)
                topic_id = self._topic_ids.get(topic, "")
                record = StoredRecord(topic, number, offset, key, value, headers, topic_id)
                batch[topic, number].append(record)
        self._handed += sum(map(len, batch.values()))
        return batch

    def _ends(self, messages: Iterable[Message]) -> dict[Partition, int]:
        """The partitions that were read to their ends, and these."""
        ends: dict[Partition, int] = {}
        for message in messages:
            topic, number, offset, error = (
                message.topic(),
                message.partition(),
                message.offset(),
                message.error(),
            )
            if error is None or topic is None or number is None or offset is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF and (topic, number) in self._reading:
                ends[topic, number] = offset
        return ends

    def _end_unreadable(self, partition: Partition, error: KafkaError) -> None:
        """Read no more of it: librdkafka would fetch the same again twice a second."""
        if error.code() in _UNREADABLE and partition in self._reading:
            self._forget({partition})
            self._unreadable[partition] = error.str()

    # Rebalances, in a call of `consume`

    def _on_assign(self, consumer: Consumer, added: list[TopicPartition]) -> None:
        consumer.incremental_assign([])  # they are ours, and read when it is known from where
        if not self._ending:
            self._tell(self._events.on_assigned, _named(added))

    def _on_revoke(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        """Wait for the loop to finish what it has of these, and carry out what it wishes for that."""
        partitions = _named(gone)
        if not self._ending:
            finishing = asyncio.run_coroutine_threadsafe(
                _awaited(self._events.on_revoked, partitions), self._loop
            )
            finishing.add_done_callback(lambda _: self._commands.put(_nothing))
            self._wait_for(finishing)
        self._forget(partitions)

    def _wait_for(self, finishing: Future[None]) -> None:
        deadline = time.monotonic() + _REVOKE_S
        self._rebalancing = True
        while not finishing.done() and not self._ending and (left := deadline - time.monotonic()) > 0:
            self._obey(wait_s=left)
        self._rebalancing = False
        if not finishing.done():
            finishing.cancel()

    def _on_lost(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        partitions = _named(gone)
        self._forget(partitions)
        if not self._ending:
            self._tell(self._events.on_lost, partitions)

    def _forget(self, partitions: Collection[Partition]) -> None:
        self._consumer.incremental_unassign(_topic_partitions(self._reading.intersection(partitions)))
        self._reading.difference_update(partitions)

    # Wishes

    def _read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        self._forget(starts)
        self._reading.update(starts)
        self._held = [each for each in self._held if (each.topic(), each.partition()) not in starts]
        self._tell(begun)
        self._consumer.incremental_assign([TopicPartition(*each, offset) for each, offset in starts.items()])
        self._consumer.pause(_topic_partitions(self._paused & starts.keys()))

    def _pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        before, self._paused = self._paused, partitions
        self._consumer.resume(_topic_partitions((before - partitions) & self._reading))
        self._consumer.pause(_topic_partitions((partitions - before) & self._reading))
        self._tell(done)

    def _begin_commit(
        self, offsets: Mapping[Partition, OffsetAndMetadata], done: asyncio.Future[CommitAnswer]
    ) -> None:
        """While a rebalance is on nobody would be told of an answer, so then it is waited for."""
        named = [TopicPartition(*partition, *commit) for partition, commit in offsets.items()]
        self._commits.append(done)
        try:
            if self._rebalancing:
                self._committed(None, self._consumer.commit(offsets=named, asynchronous=False))
            else:
                self._consumer.commit(offsets=named, asynchronous=True)
        except KafkaException as error:
            self._committed(error.args[0], named)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """An error of all is each one's; where all have one of their own, Kafka's client tells the last."""
        answer = {(each.topic, each.partition): each.error or error for each in partitions}
        self._tell(_set_result, self._commits.popleft(), answer)

    # Complaints

    def _failed(self, error: KafkaError) -> None:
        if error.fatal():
            raise KafkaException(error)
        self._complain(None, error)

    def _complain(self, topic: str | None, error: KafkaError) -> None:
        """librdkafka goes on by itself, with whatever still can; each complaint is logged now and then."""
        if error.fatal():
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


async def _awaited(
    event: Callable[[frozenset[Partition]], Awaitable[None]], gone: frozenset[Partition]
) -> None:
    await event(gone)


def _named(partitions: Iterable[TopicPartition]) -> frozenset[Partition]:
    return frozenset((each.topic, each.partition) for each in partitions)


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*each) for each in partitions]


_read_headers = methodcaller("headers")
"""Called so, and not directly: confluent-kafka 2.16 returns something and sets an exception where a name is
not UTF-8, which only a call from C notices at once."""


def _headers(message: Message) -> Headers:
    """None where a name can't be read; Kafka's brokers take any bytes as one."""
    try:
        return tuple(_read_headers(message) or ())
    except SystemError:
        return ()
