"""The public contract as an AsyncAPI 3 document, seen from the server: it sends what a browser gets.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Mapping
from typing import Any

import orjson

from doorstep.gateway.json_schema import Schema
from doorstep.gateway.public_contract import PublicContract, control_schema, notification_schema

_CHANNEL = "#/channels/socket"
_QUERY: Schema = {
    "type": "object",
    "properties": {
        "cursor": {"type": "string", "description": "The last cursor that this client has."},
        "replay": {"type": "integer", "description": "Without a cursor: how many of the last to begin with."},
    },
}


def asyncapi(contract: PublicContract) -> bytes:
    """The document, as indented JSON that ends with a line feed."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(_document(contract), option=options)


def _document(contract: PublicContract) -> Mapping[str, Any]:
    sent = {
        **{shape.route: _message(notification_schema(shape), shape.meaning) for shape in contract.events},
        **{
            event: _message(control_schema(event, data), data["description"])
            for event, data in contract.controls.items()
        },
    }
    received = {
        f"op.{op}": _message(
            {key: value for key, value in schema.items() if key != "description"}, schema["description"]
        )
        for op, schema in contract.operations.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Doorstep", "version": "1.0.0", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {"socket": _channel(contract, [*sent, *received])},
        "operations": {
            "notify": _operation("send", sent),
            "listen": _operation("receive", received),
        },
        "components": {"messages": {**sent, **received}},
    }


_DESCRIPTION = "Kafka events for the browsers of the users they concern: in order, without loss, resumable."


def _channel(contract: PublicContract, messages: list[str]) -> Mapping[str, Any]:
    limits = {limit.name: limit.value for limit in contract.limits}
    return {
        "address": limits["WS_PATH"],
        "description": f"A WebSocket of the subprotocol {limits['SUBPROTOCOL']}, or the same objects by HTTP "
        f"at {limits['POLL_PATH']}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": _QUERY}},
        "x-close-codes": {
            str(code.value): {"meaning": rule.meaning, "reconnect": rule.reconnect}
            for code, rule in contract.close_rules.items()
        },
        "x-limits": limits,
    }


def _operation(action: str, messages: Mapping[str, object]) -> Mapping[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": _CHANNEL},
        "messages": [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in messages],
    }


def _message(payload: Schema, meaning: str) -> Mapping[str, Any]:
    return {"summary": meaning, "payload": payload}
