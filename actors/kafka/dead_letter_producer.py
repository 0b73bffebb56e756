"""Sends dead letters to the topic of their own."""

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from doorstep.actors.kafka.dead_letters import DeadLetter, shrunk
from doorstep.actors.kafka.options import producer_options
from doorstep.config.settings import KafkaSettings

_STOP_S = 2.0

logger = structlog.get_logger(__name__)


class DeadLetterError(Exception):
    """Kafka did not take a dead letter: the infrastructure's fault. Send the same letters again."""


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
            logger.warning("dead_letter_producer_not_stopped", seconds=_STOP_S)

    async def _try(self, waiting: Sequence[_Sending]) -> list[_Sending]:
        """Send once; returns those that have to be sent again."""
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
