"""What librdkafka's consumers hand over, as a record."""

from operator import methodcaller

from confluent_kafka import Message

from doorstep.actors.records import Headers, StoredRecord


def record_of(message: Message, place: tuple[str, int, int], topic_id: str = "") -> StoredRecord:
    """The record at this topic, partition and offset, as it came; `topic_id` as far as it is known."""
    return StoredRecord(*place, message.key(), message.value(), _headers(message), topic_id)


_read_headers = methodcaller("headers")
"""Called so, and not directly: confluent-kafka 2.16 returns something and sets an exception where a name is
not UTF-8, which only a call from C notices at once."""


def _headers(message: Message) -> Headers:
    """Empty where a name can't be read; Kafka's brokers take any bytes as one."""
    try:
        return tuple(_read_headers(message) or ())
    except SystemError:
        return ()
