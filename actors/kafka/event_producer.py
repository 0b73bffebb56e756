"""Sends records of our own that nobody waits for: few are under way, and what is too much is dropped."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from doorstep.actors.kafka.options import event_options
from doorstep.config.settings import KafkaSettings


class EventProducer:
    """A producer to one topic. It connects by itself, whenever Kafka is there, and never blocks."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Raises `ValueError` where a setting that the security protocol needs is missing."""
        self._dropped = 0
        self._topic = topic
        self._producer = Producer(event_options(kafka))

    def offer(self, key: str, value: bytes) -> None:
        """Send a record, soon; dropped where too many wait already."""
        try:
            self._producer.produce(self._topic, value, key, on_delivery=self._told)
        except (BufferError, KafkaException):
            self._dropped += 1
        self._producer.poll(0)

    def take_dropped(self) -> int:
        """How many did not fit, or were not taken by Kafka within ten seconds, since the last call."""
        self._producer.poll(0)
        dropped, self._dropped = self._dropped, 0
        return dropped

    def stop(self) -> None:
        """Forget what is not sent yet."""
        self._producer.purge()

    def _told(self, fault: KafkaError | None, _message: Message) -> None:
        if fault is not None:
            self._dropped += 1
