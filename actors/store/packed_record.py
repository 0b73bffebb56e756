"""How a parked record is written. Pure."""

from types import NoneType

import msgpack

from doorstep.actors.records import StoredRecord


def pack_record(record: StoredRecord) -> bytes:
    """A record as bytes."""
    packed: bytes = msgpack.packb((*record[:5], list(record.headers), record.topic_id))
    return packed


def unpack_record(packed: bytes) -> StoredRecord | None:
    """Inverse of `pack_record`; None for what it has not written."""
    try:
        topic, partition, offset, key, value, headers, topic_id = msgpack.unpackb(packed)
        pairs = tuple((name, content) for name, content in headers)
    except (ValueError, TypeError, RecursionError):
        return None
    record = StoredRecord(topic, partition, offset, key, value, pairs, topic_id)
    return record if _is_record(record) else None


def _is_record(record: StoredRecord) -> bool:
    match record:
        case StoredRecord(str(), int(), int(), None | bytes(), None | bytes(), _, str()):
            types = {(type(name), type(content)) for name, content in record.headers}
            return types <= {(str, bytes), (str, NoneType)}
    return False
