"""Sends dead letters to the topic of their own."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from doorstep.actors.kafka.dead_letters import DeadLetter, shrunk
from doorstep.actors.kafka.options import dead_letter_options
from doorstep.config.settings import KafkaSettings

_STOP_S = 2.0
_AT_ONCE = 100

logger = structlog.get_logger(__name__)


class DeadLetterProducer:
    """The producer to the dead-letter topic. Connects when the first letter is sent."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._options = dead_letter_options(kafka)
        self._topic = kafka.dead_letter_topic
        self._producer: Producer | None = None
        self._turn = asyncio.Lock()

    async def send(self, dead_letters: Sequence[DeadLetter]) -> list[str | None]:
        """Why each letter is not kept, some ten seconds after it had its turn at the latest.

        None for those that all in-sync replicas keep: once, or more often if it is sent again after an error.
        """
        faults: list[KafkaError | None] = []
        async with self._turn:
            for first in range(0, len(dead_letters), _AT_ONCE):
                faults += await self._try(dead_letters[first : first + _AT_ONCE])
            for place, letter in enumerate(dead_letters):
                if _is_of_size(faults[place]):
                    faults[place] = await self._send_smaller(letter)
        return [None if fault is None else f"topic {self._topic}: {fault.str()}" for fault in faults]

    async def stop(self) -> None:
        """End it; letters that are not acknowledged by then may or may not be kept."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer.purge()
        try:
            async with asyncio.timeout(_STOP_S):
                await asyncio.to_thread(producer.close)
        except TimeoutError:
            logger.warning("dead_letter_producer_not_stopped", seconds=_STOP_S)

    async def _send_smaller(self, letter: DeadLetter) -> KafkaError | None:
        """Alone first, for it may have been others in its batch that were too large."""
        for form in (letter, *shrunk(letter)):
            (fault,) = await self._try([form])
            if not _is_of_size(fault):
                break
        return fault

    async def _try(self, forms: Sequence[DeadLetter]) -> list[KafkaError | None]:
        """What went wrong with each."""
        if self._producer is None:
            self._producer = Producer(self._options)
        faults = await asyncio.to_thread(_produce, self._producer, self._topic, forms)
        if any(fault is not None and _ends_all(fault) for fault in faults):
            await self.stop()  # only another one can go on
        return faults


def _produce(producer: Producer, topic: str, forms: Sequence[DeadLetter]) -> list[KafkaError | None]:
    faults: list[KafkaError | None] = [None] * len(forms)

    def told(place: int, fault: KafkaError | None, _message: Message | None = None) -> None:
        faults[place] = fault

    for place, form in enumerate(forms):
        headers: list[tuple[str, str | bytes | None]] = [*form.headers]
        try:
            producer.produce(topic, form.value, form.key, headers=headers, on_delivery=partial(told, place))
        except KafkaException as error:
            told(place, error.args[0])
    producer.flush()
    return faults


def _is_of_size(fault: KafkaError | None) -> bool:
    return fault is not None and fault.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _ends_all(fault: KafkaError) -> bool:
    return fault.fatal() or fault.code() == KafkaError._FATAL
