"""What a Kafka record is: an event for a user, the owner of a batch, a fault, or nothing for us. Pure."""

import json
import re
from collections.abc import Collection, Mapping
from math import isfinite
from types import NoneType
from typing import Any, Literal, NamedTuple

import orjson
import xxhash
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from doorstep.actors.consuming.rejects import (
    RejectError,
    not_json,
    oversized,
    rejected,
    unfit,
    unknown_event,
)
from doorstep.actors.kafka.dead_letters import Fault, RejectReason
from doorstep.actors.records import Record, identity_of
from doorstep.config.contracts import Envelope
from doorstep.config.identifiers import MAX_IDENTIFIER_BYTES, RESERVED_PREFIX, identifier_fault
from doorstep.config.routes import (
    ContextRoute,
    EventRoute,
    Route,
    RouteTable,
    event_name_fault,
)
from doorstep.config.sources import Source

__all__ = ["Event", "Fault", "Registration", "RejectReason", "Skip", "decode"]


class Event(NamedTuple):
    """A notification for the user `user_id`, or for the user of the batch `batch_id`: one of them is set."""

    user_id: str | None
    batch_id: str | None
    dedupe_key: bytes
    """8 bytes; the same for two records that are the same event."""
    payload: bytes
    """The notification's JSON object without `seq` and `cursor`: `{"event":…,"id":…,"correlation_id":…,
    "timestamp":…,"data":{…}}`, and `traceparent` where it is known."""
    correlation_id: str | None
    event_name: str


class Registration(NamedTuple):
    """The batch `batch_id` belongs to the user `user_id`."""

    batch_id: str
    user_id: str
    correlation_id: str | None


class Skip(NamedTuple):
    """A record that is nobody's fault and nobody's event."""

    reason: Literal["tombstone", "unrouted"]


def decode(
    record: Record, routes: RouteTable, max_record_bytes: int, topic_id: str = ""
) -> Event | Registration | Fault | Skip:
    """Say what a record is, by the route of its topic. Never raises, whatever its bytes are.

    A value longer than `max_record_bytes` is rejected unread. `topic_id` is Kafka's id of the record's topic,
    where it is known: an event without an id of its own is known by its place in that.
    """
    route, value = routes.by_topic.get(record.topic), record.value
    if route is None or value is None:
        return _UNROUTED if route is None else _TOMBSTONE
    if len(value) > max_record_bytes:
        return oversized(len(value), max_record_bytes)
    try:
        envelope = _validated(value, route)
        if isinstance(route, ContextRoute):
            return _registration(route, envelope)
        return _event(record, route, envelope, topic_id)
    except ValidationError as error:
        return unfit(value, route, error)
    except RejectError as error:
        return error.fault


_UNROUTED = Skip("unrouted")
_TOMBSTONE = Skip("tombstone")


def _validated(value: bytes, route: Route) -> Envelope:
    try:
        envelope = route.validate(value)
    except ValidationError:
        raise
    except Exception as error:  # a validator of somebody's own contract may raise what it likes
        fault = f"{type(error).__name__}: {error}"[:200]
        message = f"the contract {route.contract.__name__} of [{route.name}] failed ({fault}): correct it"
        raise RejectError(rejected("invalid_contract", message, None)) from error
    if envelope.event_type not in route.topics:
        raise RejectError(unknown_event(envelope.event_type, route, _correlation_id(route, envelope)))
    return envelope


def _registration(route: ContextRoute, envelope: Envelope) -> Registration:
    correlation_id = _correlation_id(route, envelope)
    batch_id = _identifier("invalid_batch", route.batch, envelope, correlation_id)
    user_id = _identifier("invalid_user", route.user, envelope, correlation_id)
    return Registration(batch_id, user_id, correlation_id)


def _event(record: Record, route: EventRoute, envelope: Envelope, topic_id: str) -> Event:
    correlation_id = _correlation_id(route, envelope)
    user_id = batch_id = None
    if route.user is not None:
        user_id = _identifier("invalid_user", route.user, envelope, correlation_id)
    if route.batch is not None:
        batch_id = _identifier("invalid_batch", route.batch, envelope, correlation_id)
    name = route.event
    if not isinstance(name, str):
        name = _event_name(name, envelope, correlation_id)
    id_ = envelope.event_id or identity_of(record, topic_id)
    payload = _payload(record, route, envelope, name=name, id_=id_, correlation_id=correlation_id)
    dedupe_key = _dedupe_key(route, envelope, name, id_)
    return Event(user_id, batch_id, dedupe_key, payload, correlation_id, name)


def _correlation_id(route: Route, envelope: Envelope) -> str | None:
    value = route.correlation_id.read(envelope)
    return value if isinstance(value, str) else None


_NO_TEXT = "is not there, or isn't text"


def _identifier(
    reason: Literal["invalid_user", "invalid_batch"],
    source: Source,
    envelope: Envelope,
    correlation_id: str | None,
) -> str:
    value = source.read(envelope)
    if isinstance(value, str):
        fault = identifier_fault(value)
        if fault is None:
            return value
    else:
        fault = _NO_TEXT
    message = f"{source.text} {fault}: send an id of 1 to {MAX_IDENTIFIER_BYTES} bytes"
    raise RejectError(rejected(reason, message, correlation_id, field=source.text))


def _event_name(source: Source, envelope: Envelope, correlation_id: str | None) -> str:
    value = source.read(envelope)
    reason: RejectReason = "invalid_contract"
    if isinstance(value, str):
        fault = event_name_fault(value)
        if fault is None:
            return value
        if value.startswith(RESERVED_PREFIX):
            reason = "reserved_event"
    else:
        fault = _NO_TEXT
    message = f"the event's name, {source.text}, {fault}: send another name"
    raise RejectError(rejected(reason, message, correlation_id, field=source.text))


def _payload(
    record: Record,
    route: EventRoute,
    envelope: Envelope,
    *,
    name: str,
    id_: str,
    correlation_id: str | None,
) -> bytes:
    notification: dict[str, Any] = {
        "event": name,
        "id": id_,
        "correlation_id": correlation_id,
        "timestamp": envelope.event_timestamp,
    }
    traceparent = _traceparent(envelope, record)
    try:
        notification["data"] = data = _data(route, envelope)
        if route.open_ended and not _are_surely_json(data.values()):
            _check_numbers(record.value or b"", correlation_id)
        if traceparent is not None:
            notification["traceparent"] = traceparent
        return _encoded(notification)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"data of [{route.name}] can't be written as JSON ({error}): correct its contract"
        raise RejectError(rejected("invalid_contract", message, correlation_id)) from error


_SURELY_JSON = frozenset((str, int, bool, NoneType))


def _are_surely_json(values: Collection[Any]) -> bool:
    """Whether it can be seen at a glance that all numbers in there are ones that JSON has."""
    return _SURELY_JSON.issuperset(map(type, values)) or all(map(_is_surely_json, values))


def _is_surely_json(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return _are_surely_json(value.values())
    if kind is list:
        return _are_surely_json(value)
    return kind in _SURELY_JSON or (kind is float and isfinite(value))


def _check_numbers(value: bytes, correlation_id: str | None) -> None:
    """The validating parser takes NaN, Infinity and 1e999, which a browser would get as null."""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RejectError(not_json(str(error), correlation_id)) from error


def _data(route: EventRoute, envelope: Envelope) -> dict[str, Any]:
    named = zip(route.data, route.read_data(envelope), strict=True)
    if route.data_from is None:
        return dict(named)
    whole = route.data_from.read(envelope)
    if whole is not None and not isinstance(whole, _OBJECTS):
        raise TypeError(f"{route.data_from.text} isn't an object")
    data: dict[str, Any] = dict(whole or ())
    data.update(named)
    return data


_OBJECTS = (dict, BaseModel)


def _encoded(notification: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(notification, default=to_jsonable_python, option=orjson.OPT_UTC_Z)
    except TypeError:  # orjson has no whole numbers over 64 bits, JSON has
        text = json.dumps(
            notification,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
            default=to_jsonable_python,
        )
        return text.encode()


_TRACE_IDS = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(f"00{_TRACE_IDS}|(?!00|ff)[0-9a-f]{{2}}{_TRACE_IDS}(-[!-~]{{0,200}})?")
"""https://www.w3.org/TR/trace-context/#traceparent-header: later versions may have more parts."""


def _traceparent(envelope: Envelope, record: Record) -> str | None:
    """The envelope's own, else the record's header; None unless it is well-formed."""
    if envelope.metadata:
        own = envelope.metadata.get("traceparent")
        if isinstance(own, str) and _TRACEPARENT.fullmatch(own):
            return own
    for name, raw in record.headers:
        if name == "traceparent" and raw is not None:
            header = raw.decode("latin-1")
            if _TRACEPARENT.fullmatch(header):
                return header
    return None


def _dedupe_key(route: EventRoute, envelope: Envelope, name: str, id_: str) -> bytes:
    """Hash what makes the event the same event: its business key where it is complete, else its id, which is
    its place in Kafka where it has none. The event's name goes with it, so that two names never collide."""
    if route.dedupe:
        business = [source.read(envelope) for source in route.dedupe]
        if None not in business:
            return _digest("key", name, *map(str, business))
    if envelope.event_id is not None:
        return _digest("id", name, id_.lower())
    return _digest("source", name, id_)


def _digest(*parts: str) -> bytes:
    """8 bytes. `ascii` quotes each part, so that no two lists of parts are hashed as the same text."""
    return xxhash.xxh3_64_digest(ascii(parts).encode("ascii"))
