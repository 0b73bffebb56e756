"""Dead dead_letters: records that can't become a notification, kept whole in a topic of their own."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from doorstep.actors.kafka.options import producer_options
from doorstep.actors.records import Record
from doorstep.config.settings import KafkaSettings

REASON, ERROR, SOURCE = "doorstep-reason", "doorstep-error", "doorstep-source"

_OURS = (REASON, ERROR, SOURCE)
_STOP_S = 2.0

logger = structlog.get_logger(__name__)


class DeadLetterError(Exception):
    """Kafka did not take a dead letter: the infrastructure's fault. Send the same dead_letters again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record can't become a notification: its producer's fault, or that of what should have come."""

    reason: str
    """`invalid_json`, `context_timeout`, …"""
    operation: str
    """What Doorstep was about to do."""
    message: str
    correlation_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic; the last three headers are ours."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter(record: Record, fault: Fault, now: float) -> DeadLetter:
    """The dead letter of a record: its key, value and headers as they were, and three headers of ours.

    `doorstep-reason` is the reason, `doorstep-source` is `topic/partition/offset`, `doorstep-error` is a JSON
    object of error_code, message, correlation_id, timestamp, service, operation, details. `now` is in Unix
    seconds. Such headers from an earlier delivery are replaced.
    """
    theirs = tuple((name, value) for name, value in record.headers if name not in _OURS)
    error = {
        "error_code": fault.reason.upper(),
        "message": fault.message,
        "correlation_id": fault.correlation_id,
        "timestamp": datetime.fromtimestamp(now, UTC),
        "service": "doorstep",
        "operation": fault.operation,
        "details": fault.details,
    }
    ours = (
        (REASON, fault.reason.encode()),
        (ERROR, orjson.dumps(error, default=str)),
        (SOURCE, f"{record.topic}/{record.partition}/{record.offset}".encode()),
    )
    return DeadLetter(record.key, record.value or b"", theirs + ours)


def shrunk(whole: DeadLetter) -> Iterator[DeadLetter]:
    """Ever smaller forms of a letter, for a broker that refuses its size: what is cut is told by its hash.

    First without the value, then without the key and the record's own headers too.
    """
    cut = {"size": len(whole.value), "sha256": hashlib.sha256(whole.value).hexdigest()}
    yield replace(whole, value=orjson.dumps(cut))
    if whole.key is not None:
        cut |= {"key_size": len(whole.key), "key_sha256": hashlib.sha256(whole.key).hexdigest()}
    yield DeadLetter(None, orjson.dumps(cut), whole.headers[-len(_OURS) :])


class _Sending:
    """A letter that is not kept yet, in the largest form that was not refused."""

    def __init__(self, whole: DeadLetter) -> None:
        self.form = whole
        self._smaller = shrunk(whole)

    def shrink(self) -> None:
        """Take the next smaller form. Raises `DeadLetterError` where there is none."""
        smaller = next(self._smaller, None)
        if smaller is None:
            raise DeadLetterError("the broker refuses even the smallest form: raise its max.message.bytes")
        self.form = smaller


class DeadLetterProducer:
    """The producer to the dead-letter topic. Connects when the first letter is sent."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._options = producer_options(kafka)
        self._topic = kafka.dead_letter_topic
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()

    async def send(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Returns when all in-sync replicas keep every letter: once, or more often after an error.

        Waits while no broker answers. Raises `DeadLetterError`: some may have been kept; send the same again.
        """
        waiting = [_Sending(one) for one in dead_letters]
        async with self._turn:
            while waiting:
                waiting = await self._try(waiting)

    async def stop(self) -> None:
        """End the connection; dead_letters that are not acknowledged by then may or may not be kept."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(_STOP_S):
                await producer.stop()
        except TimeoutError:
            await producer.client.close()
            logger.warning("the dead-letter producer did not stop in time", seconds=_STOP_S)

    async def _try(self, waiting: Sequence[_Sending]) -> list[_Sending]:
        """Send once; returns those that are to be sent again."""
        producer = await self._connected()
        outcomes = await asyncio.gather(*(self._put(producer, one.form) for one in waiting))
        failed = [(one, error) for one, error in zip(waiting, outcomes, strict=True) if error is not None]
        if not failed:
            return []
        # A refused record has taken a sequence number that the broker now misses: an idempotent producer then
        # fails everything that it sends after it, and in the same round what goes to the same partition.
        await self.stop()
        refused = [one for one, error in failed if isinstance(error, MessageSizeTooLargeError)]
        if not refused:
            raise DeadLetterError(f"topic {self._topic}: {failed[0][1]!r}")
        for one in refused:
            one.shrink()
        return [one for one, _ in failed]

    async def _put(self, producer: AIOKafkaProducer, form: DeadLetter) -> KafkaError | None:
        """What went wrong, if anything did."""
        try:
            await producer.send_and_wait(
                self._topic, value=form.value, key=form.key, headers=list(form.headers)
            )
        except KafkaError as error:
            return error
        return None

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(**self._options)
            try:
                await self._producer.start()
            except BaseException as error:
                await self.stop()
                if isinstance(error, KafkaError):
                    raise DeadLetterError(f"no broker takes dead letters: {error!r}") from error
                raise
        return self._producer
