"""Which member of a consumer group has each partition, as Kafka says, and which have changed hands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._group import ConsumerGroupDescription

_LOOK_S = 0.2


class Owners:
    """What is known of one topic. A process that takes the place of another one is another member."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._group = group
        self._topic = topic
        self._members: dict[int, str] = {}
        """Who has each partition, or had it last."""
        self._changes: dict[int, float] = {}
        """By partition, when another member was last seen to have it than before, in monotonic seconds."""

    def moved(self, since: float) -> frozenset[int]:
        """The partitions that another member has had since then."""
        return frozenset(number for number, at in self._changes.items() if at >= since)

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            asked = self._client.describe_consumer_groups([self._group])
            with contextlib.suppress(KafkaException):  # nobody has been in it yet
                self._note(await asyncio.wrap_future(asked[self._group]))
            await asyncio.sleep(_LOOK_S)

    def _note(self, described: ConsumerGroupDescription) -> None:
        """While a rebalance is on, Kafka does not say who has what."""
        if described.state != ConsumerGroupState.STABLE:
            return
        members = {
            each.partition: member.member_id
            for member in described.members
            for each in member.assignment.topic_partitions
            if each.topic == self._topic
        }
        now = monotonic()
        for number, member in members.items():
            if self._members.get(number, member) != member:
                self._changes[number] = now
        self._members |= members


@contextlib.asynccontextmanager
async def watched_owners(bootstrap: str, group: str, topic: str) -> AsyncIterator[Owners]:
    """Watched while the block runs."""
    watched = Owners(bootstrap, group, topic)
    watching = asyncio.create_task(watched.watch())
    try:
        yield watched
    finally:
        watching.cancel()
