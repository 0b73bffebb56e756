"""The public contract as one value: what a browser may get and send, read from the code that decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import cleandoc
from typing import get_args

from doorstep.config.identifiers import MAX_IDENTIFIER_BYTES
from doorstep.config.routes import EventRoute, RouteTable
from doorstep.config.settings import Settings
from doorstep.gateway.auth import SUBPROTOCOL_PREFIX
from doorstep.gateway.close_codes import CLOSE_RULES, CloseCode, CloseRule
from doorstep.gateway.json_schema import NULL, Schema, an_object, at_paths, plain
from doorstep.gateway.messages import CONTROLS, MAX_TOKEN_CHARS, Op
from doorstep.gateway.paths import POLL_PATH, WS_PATH
from doorstep.gateway.poll import DEFAULT_LIMIT, MAX_LIMIT, MAX_WAIT_S
from doorstep.gateway.upgrade import SUBPROTOCOL


@dataclass(frozen=True, slots=True)
class EventShape:
    """The notifications of one route."""

    route: str
    """The name of the route, such as `essay_slot_assigned`."""
    event: str | None
    """The name of its events; None where each event brings its own."""
    meaning: str
    topics: Sequence[str]
    """Where its records come from, sorted."""
    data: Schema


@dataclass(frozen=True, slots=True)
class Limit:
    """A number or name that client and server agree on."""

    name: str
    value: int | str
    meaning: str


@dataclass(frozen=True, slots=True)
class PublicContract:
    """All of it. Schemas are plain: without references."""

    events: Sequence[EventShape]
    controls: Mapping[str, Schema]
    """The server's own messages: the schema of `data` by event name."""
    operations: Mapping[str, Schema]
    """The client's messages by `op`."""
    close_rules: Mapping[CloseCode, CloseRule]
    limits: Sequence[Limit]


def public_contract(routes: RouteTable, settings: Settings) -> PublicContract:
    """The contract of a Doorstep with these routes and settings."""
    return PublicContract(
        events=[_event_shape(route) for route in routes.routes if isinstance(route, EventRoute)],
        controls={control.event: plain(control.model_json_schema()) for control in CONTROLS},
        operations={kind.__name__.lower(): _operation(kind) for kind in get_args(Op)},
        close_rules=CLOSE_RULES,
        limits=_limits(settings),
    )


def notification_schema(shape: EventShape) -> Schema:
    """The whole message of a notification, as a socket and a poll carry it."""
    name: Schema = {"type": "string"} if shape.event is None else {"const": shape.event}
    known = an_object(
        {
            "seq": {"type": "integer", "minimum": 1, "description": "Counts a user's notifications."},
            "cursor": {"type": "string", "description": "Opaque: keep the last one, and send it to resume."},
            "event": {**name, "description": "What happened."},
            "id": {"type": "string", "description": "The event's id."},
            "correlation_id": {
                "anyOf": [{"type": "string"}, NULL],
                "description": "Ties together all that one request caused.",
            },
            "timestamp": {"type": "string", "description": "When the event was made, ISO 8601."},
            "data": shape.data,
        }
    )
    traceparent = {"type": "string", "description": "W3C trace context, where the event carried one."}
    return {**known, "properties": {**known["properties"], "traceparent": traceparent}}


def control_schema(event: str, data: Schema) -> Schema:
    """The whole message of one of the server's own: those that move the client's position have a cursor."""
    fields: dict[str, Schema] = {"event": {"const": event}, "data": data}
    if "cursor" in data.get("properties", {}):
        fields["cursor"] = data["properties"]["cursor"]
    return an_object(fields)


def _event_shape(route: EventRoute) -> EventShape:
    envelope = plain(route.envelope.model_json_schema())
    named = {name: at_paths(envelope, source.paths) for name, source in route.data.items()}
    data = an_object(named)
    if route.data_from is not None:
        whole = at_paths(envelope, route.data_from.paths)
        properties = {**whole.get("properties", {}), **named}
        data = an_object(properties, open_ended=whole.get("additionalProperties", False))
    return EventShape(
        route=route.name.removeprefix("route."),
        event=route.event if isinstance(route.event, str) else None,
        meaning=cleandoc(route.contract.__doc__ or route.contract.__name__),
        topics=sorted(route.topics),
        data=data,
    )


def _operation(kind: type) -> Schema:
    name = kind.__name__.lower()
    texts: dict[str, Schema] = {field.name: {"type": "string"} for field in fields(kind)}
    return {**an_object({"op": {"const": name}, **texts}), "description": cleandoc(kind.__doc__ or "")}


def _limits(settings: Settings) -> Sequence[Limit]:
    gateway, history = settings.gateway, settings.history
    return [
        Limit("WS_PATH", WS_PATH, "Where a WebSocket connects."),
        Limit("POLL_PATH", POLL_PATH, "Where a client polls."),
        Limit("SUBPROTOCOL", SUBPROTOCOL, "The WebSocket subprotocol."),
        Limit("SUBPROTOCOL_PREFIX", SUBPROTOCOL_PREFIX, "Before the token, in a second subprotocol."),
        Limit("MAX_TOKEN_CHARS", MAX_TOKEN_CHARS, "The longest token."),
        Limit("MAX_USER_ID_BYTES", MAX_IDENTIFIER_BYTES, "The longest user id, in UTF-8."),
        Limit("POLL_DEFAULT_LIMIT", DEFAULT_LIMIT, "Notifications in the answer to a poll without `limit`."),
        Limit("POLL_MAX_LIMIT", MAX_LIMIT, "Notifications in the answer to a poll, at most."),
        Limit("POLL_MAX_WAIT_S", round(MAX_WAIT_S), "The longest wait of a poll, in seconds."),
        Limit("MAX_FRAME_BYTES", gateway.max_frame_bytes, "The longest message of a client (default)."),
        Limit("MAX_FRAMES_PER_S", round(gateway.max_frames_per_s), "What a client may send (default)."),
        Limit("PING_INTERVAL_MS", round(gateway.ping_interval_s * 1000), "Between two pings (default)."),
        Limit("MAX_SOCKETS_PER_USER", gateway.max_sockets_per_user, "Sockets of one user (default)."),
        Limit("MAX_POLLS_PER_USER", gateway.max_polls_per_user, "Polls of one user that wait (default)."),
        Limit("HISTORY_MAX_COUNT", history.max_count, "Notifications that a log keeps at least (default)."),
        Limit("HISTORY_TTL_S", history.ttl_s, "Seconds that a log lives after its last one (default)."),
    ]
