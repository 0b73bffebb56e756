"""Writes records that no client library would write."""

import struct

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_CRC, _CRC_FROM = 17, 21
"""Where a batch (Kafka's record format, version 2) has its checksum, and where what it covers begins."""
_NAME, _NO_TEXT = b"a-header", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"


async def produce_batch(bootstrap: str, topic: str, values: list[bytes], *, bad: int) -> None:
    """Write `values` as one batch to partition 0; a header of the record `bad` has no text as its name."""
    client = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await client.start()
    try:
        await client._client._wait_on_metadata(topic)
        request = ProduceRequest(
            transactional_id=None,
            required_acks=-1,
            timeout=10_000,
            topics=[(topic, [(0, _batch(values, bad))])],
        )
        response = await client._client.send(
            client._client.cluster.leader_for_partition(TopicPartition(topic, 0)), request
        )
        assert response.topics[0][1][0][1] == 0
    finally:
        await client.stop()


def _batch(values: list[bytes], bad: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, value in enumerate(values):
        headers = [(_NAME.decode(), b"x")] if number == bad else []
        builder.append(number, timestamp=1, key=b"key", value=value, headers=headers)
    batch = bytearray(bytes(builder.build()).replace(_NAME, _NO_TEXT))
    struct.pack_into(">I", batch, _CRC, calc_crc32c(bytes(batch[_CRC_FROM:])))
    return bytes(batch)
