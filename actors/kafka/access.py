"""Whether the brokers let us in at all, and into the consumer group. Asked once; nobody joins for that."""

import asyncio

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._group import ConsumerGroupDescription

from doorstep.actors.kafka.errors import KafkaUnavailableError, StandInError
from doorstep.actors.kafka.options import client_options
from doorstep.config.settings import KafkaSettings

_CALL_S = 5.0
_PAUSE_S = 0.1
_ANSWERS = {
    KafkaError.GROUP_ID_NOT_FOUND: None,  # nobody has been in it yet; who may not read it isn't told that
    KafkaError.GROUP_AUTHORIZATION_FAILED: "no right to describe it, nor to read as this group",
}


async def broker_fault(kafka: KafkaSettings) -> str | None:
    """Why no broker answers, as far as that is known; None, within seconds, where one does."""
    said: list[KafkaError] = []
    client = AdminClient(client_options(kafka) | {"error_cb": said.append})
    try:
        await asyncio.to_thread(lambda: client.list_topics(timeout=_CALL_S))
    except KafkaException as error:
        client.poll(0)  # calls back
        reasons = [each for each in said if each.code() != KafkaError._ALL_BROKERS_DOWN]
        return (reasons or error.args)[0].str()
    return None


async def group_fault(kafka: KafkaSettings) -> str | None:
    """Why `kafka.group_id` can't be joined; None where nothing speaks against it.

    Raises `KafkaUnavailableError`, within seconds, when its coordinator does not answer, and `StandInError`
    where there is no such thing. A Kafka that never had a group takes a moment to appoint one.
    """
    client = AdminClient(client_options(kafka))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _CALL_S
    while True:
        try:
            allowed = (await _described(client, kafka.group_id)).authorized_operations
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            if fault.code() in _ANSWERS:
                return _ANSWERS[fault.code()]
            if fault.code() == KafkaError._UNSUPPORTED_FEATURE:
                raise StandInError from error
            if loop.time() > deadline:
                raise KafkaUnavailableError(f"group: {fault.str()}") from error
            await asyncio.sleep(_PAUSE_S)
        else:
            may_read = allowed is None or AclOperation.READ in allowed  # None of brokers that do not tell
            return None if may_read else "no right to read as this group"


async def _described(client: AdminClient, group: str) -> ConsumerGroupDescription:
    asked = client.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=_CALL_S
    )
    found: ConsumerGroupDescription = await asyncio.wrap_future(asked[group])
    return found
