"""A Kafka record and a partition, and how both are written. Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

Partition = tuple[str, int]
"""Topic and partition."""

Headers = Sequence[tuple[str, bytes | None]]


TopicIds = Mapping[str, str]
"""Kafka's ids of topics (KIP-516), by their names. One that was deleted and made anew has another id, and its
offsets begin again. A topic whose id is not known (before Kafka 3.1, or without the right to ask) is missing.
"""


class OffsetAndMetadata(NamedTuple):
    """What a group has committed of a partition, or is to commit."""

    offset: int
    metadata: str = ""
    """What whoever commits it writes beside it."""


class Beginning(Enum):
    """The oldest record that Kafka has of a partition, whatever its offset is."""

    BEGINNING = "beginning"


BEGINNING = Beginning.BEGINNING


class Record(Protocol):
    """A record as a Kafka client hands it over."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class StoredRecord(NamedTuple):
    """A record as it came, so that it can be kept, decoded again, or dead-lettered."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    topic_id: str = ""
    """Kafka's id of the topic at that time; empty if it was not known."""

    @property
    def identity(self) -> str:
        """See `identity_of`."""
        return identity_of(self, self.topic_id)


def source_of(record: Record) -> str:
    """Where a record stands in Kafka, for people and headers: `topic/partition/offset`."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def identity_of(record: Record, topic_id: str) -> str:
    """What no other record has, whatever becomes of its topic: `topic/partition/offset@topic id`.

    Its source alone where the id is not known.
    """
    return f"{source_of(record)}@{topic_id}" if topic_id else source_of(record)


def topic_id_of(record: Record, topic_ids: TopicIds) -> str:
    """The id of the topic that a record is of: a stored one has it, as it was; empty if it is not known."""
    return record.topic_id if isinstance(record, StoredRecord) else topic_ids.get(record.topic, "")


def name_of(partition: Partition) -> str:
    """How a partition is written: `topic/number`."""
    topic, number = partition
    return f"{topic}/{number}"


def partition_of(name: str) -> Partition:
    """The partition that `name_of` has written."""
    topic, _, number = name.rpartition("/")
    return topic, int(number)
