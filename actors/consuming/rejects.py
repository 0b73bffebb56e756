"""Records that can't be delivered, by their producer's fault: the words for it.

Pure. Every message says what is wrong, where, and what to do.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from doorstep.actors.kafka.dead_letters import Fault, RejectReason
from doorstep.config.routes import Route

_MOST_LISTED = 1000
_MOST_SHOWN = 10
_LONGEST_QUOTE = 100
_LONGEST_CORRELATION_ID = 256


class RejectError(Exception):
    """Carries a fault to `decode`, from wherever it is found."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def rejected(reason: RejectReason, message: str, correlation_id: str | None, **details: Any) -> Fault:
    """What is wrong with a record. An absurdly long correlation id is left out: the dead letter shows it."""
    if correlation_id is not None and len(correlation_id) > _LONGEST_CORRELATION_ID:
        correlation_id = None
    return Fault(reason, "decode", message, correlation_id, details)


def oversized(length: int, limit: int) -> Fault:
    """A value of `length` bytes where `limit` bytes are allowed."""
    message = f"the value has {length} bytes, over the limit of {limit}: send less, or raise the limit"
    return rejected("oversized", message, None, bytes=length, limit=limit)


def not_json(what: str, correlation_id: str | None = None) -> Fault:
    """A value that isn't JSON; `what` says why."""
    return rejected("invalid_json", f"the value isn't JSON: {what}: correct its producer", correlation_id)


def unknown_event(event_type: str, route: Route, correlation_id: str | None) -> Fault:
    """An event in a topic of another route."""
    message = (
        f"event_type is {event_type[:_LONGEST_QUOTE]!r}, which isn't a topic of [{route.name}]: send it to "
        "its own topic, or add that topic to the route"
    )
    return rejected("unknown_event", message, correlation_id, route=route.name)


def unfit(value: bytes, route: Route, error: ValidationError) -> Fault:
    """A value that isn't valid, as `error` says. It is parsed again, for what it tells of itself."""
    problems = _problems(error)
    if problems and problems[0]["type"] == "json_invalid":
        return not_json(problems[0]["msg"].removeprefix("Invalid JSON: "))
    event_type, correlation_id = _glimpsed(value)
    if event_type is not None and event_type not in route.topics:
        return unknown_event(event_type, route, correlation_id)
    errors = [{"field": _place(problem), "problem": problem["msg"]} for problem in problems]
    told = "; ".join(f"{each['field']}: {each['problem']}" for each in errors)
    told = told or f"{error.error_count()} fields are wrong"
    message = f"the value isn't a valid {route.contract.__name__}: {told}: correct its producer"
    return rejected("invalid_contract", message, correlation_id, route=route.name, errors=errors)


def _problems(error: ValidationError) -> Sequence[ErrorDetails]:
    """The first few problems; none where there are so many that pydantic takes long to list them."""
    if error.error_count() > _MOST_LISTED:
        return ()
    return error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_SHOWN]


def _place(problem: ErrorDetails) -> str:
    return ".".join(map(str, problem["loc"]))[:_LONGEST_QUOTE]


def _glimpsed(value: bytes) -> tuple[str | None, str | None]:
    """The event type and the correlation id of an envelope that isn't valid, as far as it has them."""
    try:
        content = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(content, dict):
        return None, None
    return _text_or_none(content.get("event_type")), _text_or_none(content.get("correlation_id"))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
