"""A Kafka record and a partition, and how both are written. Pure."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

Partition = tuple[str, int]
"""Topic and partition."""

Headers = Sequence[tuple[str, bytes | None]]


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

    @property
    def source(self) -> str:
        """See `source_of`."""
        return source_of(self)


def source_of(record: Record) -> str:
    """Where a record stands in Kafka: `topic/partition/offset`."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def name_of(partition: Partition) -> str:
    """How a partition is written: `topic/number`."""
    topic, number = partition
    return f"{topic}/{number}"


def partition_of(name: str) -> Partition:
    """The partition that `name_of` has written."""
    topic, _, number = name.rpartition("/")
    return topic, int(number)
