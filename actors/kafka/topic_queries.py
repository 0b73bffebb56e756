"""What the brokers say of topics: their ids, whether we may read or write them, and who leads partitions."""

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._topic import TopicDescription

from doorstep.actors.kafka.errors import ABSENT, KafkaUnavailableError
from doorstep.actors.kafka.options import client_options
from doorstep.config.settings import KafkaSettings

_CALL_S = 3.0

_FAULTS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: ABSENT,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "no right to describe it",
    KafkaError.TOPIC_EXCEPTION: "its name is none that Kafka takes",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """What is known of a topic."""

    fault: str | None = None
    """Why nothing at all can be done with it."""
    id: str = ""
    """Kafka's, which another topic of the same name does not have; empty where it is not known."""
    partitions: int = 0
    """How many it has; 0 where that is not known."""
    leaderless: frozenset[int] = frozenset()
    """Those that nobody leads now."""


class TopicQueries:
    """Asks the brokers."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._client = AdminClient(client_options(kafka))

    async def describe(self, read: Collection[str], written: Collection[str]) -> dict[str, Topic]:
        """Each topic that is to be read or written, as it is now. None is created by that.

        Raises `KafkaUnavailableError`, within seconds, when the broker that is asked does not answer.
        """
        uses = dict.fromkeys(read, AclOperation.READ) | dict.fromkeys(written, AclOperation.WRITE)
        asked = await asyncio.to_thread(self._ask, uses.keys())
        return {name: await _topic(asked[name], operation) for name, operation in uses.items()}

    async def check(self) -> None:
        """Returns when any broker answers. Raises `KafkaUnavailableError`, within seconds, when none does."""
        try:
            await asyncio.to_thread(lambda: self._client.list_topics(timeout=_CALL_S))
        except KafkaException as error:
            raise KafkaUnavailableError(f"topics: {error.args[0].str()}") from error

    def _ask(self, topics: Collection[str]) -> Mapping[str, "Future[TopicDescription]"]:
        return self._client.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=_CALL_S
        )


async def _topic(asked: "Future[TopicDescription]", operation: AclOperation) -> Topic:
    try:
        found = await asyncio.wrap_future(asked)
    except KafkaException as error:
        fault: KafkaError = error.args[0]
        if fault.code() not in _FAULTS:
            raise KafkaUnavailableError(f"topics: {fault.str()}") from error
        return Topic(_FAULTS[fault.code()])
    allowed = found.authorized_operations  # None of brokers that do not tell
    if allowed is not None and operation not in allowed:
        return Topic(f"no right to {operation.name.lower()} it", _id(found))
    leaderless = frozenset(each.id for each in found.partitions if each.leader is None)
    return Topic(None, _id(found), len(found.partitions), leaderless)


def _id(found: TopicDescription) -> str:
    """In the alphabet in which Kafka itself writes it."""
    return str(found.topic_id).replace("+", "-").replace("/", "_")
