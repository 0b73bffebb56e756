"""What the brokers say of our consumer group while we are in it.

Asked by a client of aiokafka that lives for a moment. librdkafka's would end the whole process where a
connection breaks at the wrong time (https://github.com/confluentinc/librdkafka/issues/4605).
"""

import asyncio
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from doorstep.actors.kafka.options import connection_options
from doorstep.actors.records import Partition
from doorstep.config.settings import KafkaSettings

_CALL_S = 5.0
_AT_REST = "Stable"

logger = structlog.get_logger(__name__)


async def owned_partitions(kafka: KafkaSettings) -> frozenset[Partition] | None:
    """Those that members of the group have.

    None, within seconds, while the group is changing or has no member, and where nobody can tell.
    """
    asking = asyncio.create_task(_ask(kafka))
    try:
        # aiokafka's client suppresses a cancellation that comes while it closes: let that be the task's.
        await asyncio.wait([asking], timeout=_CALL_S)
        if asking.done():
            return asking.result()
        logger.debug("group_not_told", reason=f"no answer within {_CALL_S:g} s")
        return None
    finally:
        asking.cancel()


async def _ask(kafka: KafkaSettings) -> frozenset[Partition] | None:
    try:
        group = await _describe(kafka)
        if group["state"] != _AT_REST:
            return None
        assignments = (each["member_assignment"] for each in group["members"])
        decoded = map(ConsumerProtocolMemberAssignment.decode, assignments)
        return frozenset((topic, number) for each in decoded for topic, number in each.partitions())
    except Exception as error:  # whatever it is, it is no reason to stop consuming
        logger.debug("group_not_told", reason=repr(error))
        return None


async def _describe(kafka: KafkaSettings) -> dict[str, Any]:
    """As Kafka's answer has it (DescribeGroups)."""
    options = await asyncio.to_thread(connection_options, kafka)  # certificates take a tenth of a second
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([kafka.group_id])
    finally:
        await admin.close()
    group: dict[str, Any]
    (group,) = answer.to_object()["groups"]
    return group
