"""Reads the dead-letter topic of a test."""

import json
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer

from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def reason(self) -> str:
        """Why it is there."""
        return self.headers["doorstep-reason"].decode()

    @property
    def error(self) -> dict[str, Any]:
        """The error as its header has it."""
        return dict(json.loads(self.headers["doorstep-error"]))

    @property
    def source(self) -> str:
        """`topic/partition/offset` of the original."""
        return self.headers["doorstep-source"].decode()


def read_dead_letters(bootstrap: str, topic: str, count: int) -> list[DeadLetter]:
    """At least `count` dead letters, or as many as come within the time; and whatever came with them."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": str(uuid4()), "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    letters: list[DeadLetter] = []
    deadline = monotonic() + PATIENCE_S
    try:
        while monotonic() < deadline and len(letters) < count:
            letters += [_letter(message) for message in consumer.consume(500, 0.5) if message.error() is None]
        letters += [_letter(message) for message in consumer.consume(500, 1.0) if message.error() is None]
    finally:
        consumer.close()
    return letters


def _letter(message: Any) -> DeadLetter:
    return DeadLetter(message.key(), message.value(), dict(message.headers() or []))
