"""Receipts as records of a Kafka topic: one for each acknowledgement, of what was shown since the last."""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from doorstep.actors.kafka.event_producer import EventProducer
from doorstep.actors.store.values import Pushed
from doorstep.config.settings import Settings


class ReceiptStream:
    """Offers receipts to Kafka, and waits for nothing: while Kafka is away they are dropped, and counted."""

    def __init__(self, settings: Settings) -> None:
        """Goes to `receipts.topic`; where that is empty nothing is sent, and Kafka is not needed."""
        topic = settings.receipts.topic
        self._producer = EventProducer(settings.kafka, topic) if topic else None

    def take_dropped(self) -> int:
        """How many were dropped since the last call."""
        return self._producer.take_dropped() if self._producer else 0

    def shown(self, user_id: str, after: int, until: int, known: Sequence[Pushed]) -> None:
        """A client has shown what comes after one number, until another; `known` of that is at hand."""
        if self._producer:
            receipt = {
                "user_id": user_id,
                "from_seq": after + 1,
                "to_seq": until,
                "event_ids": [orjson.loads(push[4]).get("id") for push in known],
                "shown_at": datetime.now(UTC).isoformat(),
            }
            self._producer.offer(user_id, orjson.dumps(receipt))

    def stop(self) -> None:
        """Send no more."""
        if self._producer:
            self._producer.stop()
