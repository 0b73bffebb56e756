"""What the brokers are asked beside the group consumer, on a real Kafka."""

from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.records import BEGINNING
from doorstep.config.settings import KafkaSettings
from doorstep.development.kafka import wait_for_leaders
from doorstep.development.ports import free_port
from tests.support.names import Names
from tests.support.servers import KafkaServer


@pytest.fixture
def topic(kafka: KafkaServer, names: Names) -> str:
    name = names.topic()
    kafka.create_topic(name, partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for _ in range(3):
        producer.produce(name, b"", partition=1)
    assert producer.flush(30) == 0
    return name


@pytest.fixture
async def queries(kafka: KafkaServer, names: Names) -> AsyncIterator[OffsetQueries]:
    asked = OffsetQueries(KafkaSettings(bootstrap_servers=kafka.bootstrap, group_id=names.group()))
    yield asked
    await asked.close()


async def test_partitions_and_their_ends(queries: OffsetQueries, topic: str, names: Names) -> None:
    partitions = await queries.partitions_of([topic, names.topic("none")])
    assert sorted(partitions) == [(topic, 0), (topic, 1)]
    assert await queries.ends(partitions) == {(topic, 0): 0, (topic, 1): 3}
    assert await queries.offsets_of({(topic, 0): 17, (topic, 1): BEGINNING}) == {
        (topic, 0): 17,
        (topic, 1): 0,
    }
    assert await queries.committed(partitions) == {(topic, 0): None, (topic, 1): None}
    assert await queries.ends([]) == {}


async def test_a_partition_that_is_new_is_known_at_once(
    queries: OffsetQueries, kafka: KafkaServer, topic: str
) -> None:
    await queries.ends([(topic, 0)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(timeout=30)
    wait_for_leaders(kafka.bootstrap, topic, 3)
    assert await queries.ends([(topic, 2)]) == {(topic, 2): 0}


async def test_nobody_answers(names: Names) -> None:
    queries = OffsetQueries(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    with pytest.raises(KafkaUnavailableError, match="ends"):
        await queries.ends([(names.topic(), 0)])
    await queries.close()
