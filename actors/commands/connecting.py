"""What `doorstep check --connect` finds: everything that Doorstep needs of others, tried once.

Nothing is created by that: no topic, no member of the group, and in Redis nothing that stays.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from doorstep.actors.commands.ports import port_faults
from doorstep.actors.kafka.access import broker_fault, group_fault
from doorstep.actors.kafka.errors import ABSENT, KafkaUnavailableError, StandInError
from doorstep.actors.kafka.topic_queries import Topic, TopicQueries
from doorstep.actors.store.redis.connection import Connection, check_server, connect
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.actors.store.rights import check_rights
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.gateway.key_set import KeysUnavailableError, keys_at

_OF_REDIS: Mapping[str, Callable[[Connection], Awaitable[None]]] = {
    "Redis: answers, is of the kind set, and evicts nothing": check_server,
    "Redis: its user has every right that is needed": check_rights,
}

_UNANSWERED = "try again; if it stays, look at what the brokers log"
_READ_LATER = (
    "create it, or correct its name in the routes; where brokers create topics by themselves, "
    "its first record does, and Doorstep reads it from then on"
)
_WRITTEN_LATER = (
    "create it; where brokers create topics by themselves, the first dead letter does; "
    "where they do not, the partition that has one waits for it"
)
_STAND_IN = "the topics and the group: what answers here only stands for Kafka, as the demo's broker does"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    what: str
    fault: str | None = None
    """What is wrong with it."""
    remedy: str = ""
    """What to do about that."""
    is_known: bool = True
    """False where nobody can say, and nobody need: it is not wrong."""

    def __str__(self) -> str:
        if not self.is_known:
            return f"UNKNOWN {self.what}"
        if self.fault is None:
            return f"OK     {self.what}"
        return f"WRONG  {self.what}: {self.fault}{': ' if self.remedy else ''}{self.remedy}"


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Each as soon as it is known. The settings are good in themselves (see `problems_of`)."""
    async for finding in _kafka(settings):
        yield finding
    async for finding in _redis(settings):
        yield finding
    if settings.auth.jwks_url is not None:
        yield await _keys(settings.auth.jwks_url)
    for what, fault in port_faults(settings):
        yield Finding(what, fault)


async def _kafka(settings: Settings) -> AsyncIterator[Finding]:
    kafka = settings.kafka
    brokers = f"Kafka at {kafka.bootstrap_servers}"
    fault = await broker_fault(kafka)
    yield Finding(
        brokers, fault, "see DOORSTEP_KAFKA__BOOTSTRAP_SERVERS, __SECURITY_PROTOCOL, __SASL_*, __SSL_*"
    )
    if fault is not None:
        return
    read = sorted(load_routes(settings.routes).by_topic)
    try:
        group = await group_fault(kafka)
        topics = await TopicQueries(kafka).describe(read, [kafka.dead_letter_topic])
    except StandInError:
        yield Finding(_STAND_IN, is_known=False)
        return
    except KafkaUnavailableError as error:
        yield Finding(f"topics and group, as {brokers} tells", str(error), _UNANSWERED)
        return
    for name, topic in topics.items():
        yield _topic(name, topic, is_read=name in read)
    yield Finding(f"consumer group {kafka.group_id}", group, "grant READ on the group")


def _topic(name: str, topic: Topic, *, is_read: bool) -> Finding:
    what = f"topic {name}" if is_read else f"dead-letter topic {name}"
    if topic.fault == ABSENT:
        return Finding(what, ABSENT, _READ_LATER if is_read else _WRITTEN_LATER)
    if topic.fault is not None:
        return Finding(what, topic.fault, f"grant {'READ' if is_read else 'WRITE'} and DESCRIBE")
    if topic.leaderless:
        numbers = ", ".join(map(str, sorted(topic.leaderless)))
        return Finding(what, f"nobody leads partition {numbers}", "bring their brokers back")
    return Finding(what)


async def _redis(settings: Settings) -> AsyncIterator[Finding]:
    connection = connect(settings.redis)
    try:
        for what, check in _OF_REDIS.items():
            try:
                await check(connection)
            except StoreUnavailable as error:
                yield Finding("Redis", str(error), "see DOORSTEP_REDIS__URL, __CLUSTER, __SSL_CA_CERTS")
                return
            except StoreError as error:
                yield Finding(what, str(error))  # which says what to do
            else:
                yield Finding(what)
    finally:
        await connection.close()


async def _keys(url: str) -> Finding:
    what = f"key set at {url}"
    try:
        await keys_at(url)
    except KeysUnavailableError as error:
        return Finding(what, str(error), "see DOORSTEP_AUTH__JWKS_URL")
    return Finding(what)
