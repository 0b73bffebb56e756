"""What of Doorstep the simulation replaces: types that an original and its stand-in both have to satisfy.

So mypy tells when an original changes and its stand-in does not.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from doorstep.actors.kafka.consumer_thread import CommitAnswer, GroupEvents
from doorstep.actors.kafka.topic_queries import Topic
from doorstep.actors.records import OffsetAndMetadata, Partition, StoredRecord, TopicIds
from doorstep.config.settings import KafkaSettings
from doorstep.gateway.handover import OnParcel

T = TypeVar("T")


@dataclass(frozen=True)
class Replaced(Generic[T]):
    """A name of a module of ours, what it stands for, and what it stands for in the simulation."""

    module: ModuleType
    name: str
    original: T
    stand_in: T


class Member(Protocol):
    """See `doorstep.actors.kafka.consumer_thread.ConsumerThread`."""

    def start(self) -> None: ...
    def end(self) -> None: ...
    def grant(self, records: int) -> None: ...
    def read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None: ...
    def pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None: ...
    def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> asyncio.Future[CommitAnswer]: ...


class MakesMember(Protocol):
    """Makes one."""

    def __call__(
        self,
        options: Mapping[str, Any],
        /,
        *,
        topics: Collection[str],
        topic_ids: TopicIds,
        linger_s: float,
        events: GroupEvents,
        on_end: Callable[[BaseException | None], None],
    ) -> Member: ...


class ReadsWhole(Protocol):
    """See `doorstep.actors.kafka.whole_reader.read_whole`."""

    def __call__(
        self,
        kafka: KafkaSettings,
        partitions: Collection[Partition],
        sound: Callable[[Collection[Partition]], Collection[Partition]],
        /,
    ) -> AsyncGenerator[Sequence[StoredRecord], None]: ...


class AsksForOwned(Protocol):
    """See `doorstep.actors.kafka.group_queries.owned_partitions`."""

    async def __call__(self, kafka: KafkaSettings, /) -> frozenset[Partition] | None: ...


class Queries(Protocol):
    """See `doorstep.actors.kafka.topic_queries.TopicQueries`."""

    async def describe(self, read: Collection[str], written: Collection[str]) -> dict[str, Topic]: ...
    async def check(self) -> None: ...


class TakesSockets(Protocol):
    """See `doorstep.gateway.handover.Receiver`."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


MakesQueries = Callable[[KafkaSettings], Queries]
MakesReceiver = Callable[[Path, OnParcel], TakesSockets]
