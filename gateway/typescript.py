"""The public contract in TypeScript: what `@doorstep/client` is compiled against."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from doorstep.gateway.close_codes import Reconnect
from doorstep.gateway.json_schema import Schema
from doorstep.gateway.public_contract import EventShape, Limit, PublicContract

_HEADER = "// Written by `make contract` from the Python source. Change that, not this.\n"

_WORDS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript(contract: PublicContract) -> str:
    """A module: types of events, control messages and operations; close codes and limits as constants."""
    return "\n".join([_HEADER, *_parts(contract)])


def _parts(contract: PublicContract) -> Iterator[str]:
    for shape in contract.events:
        yield _interface(_type_name(shape.route), shape.data, _meaning_of(shape))
    yield _table(
        "EventData",
        {shape.event: _type_name(shape.route) for shape in contract.events if shape.event is not None},
        "The data of each event by its name. A page adds those of its own platform by declaration merging.",
    )
    yield _table(
        "ControlData",
        {name: _type(schema) for name, schema in contract.controls.items()},
        "The data of the server's own messages by their name.",
    )
    yield _operations(contract.operations)
    yield _close_codes(contract)
    yield from map(_constant, contract.limits)


def _meaning_of(shape: EventShape) -> str:
    name = "Its event's name is the producer's." if shape.event is None else f"`{shape.event}`"
    return f"{shape.meaning}\n\n{name}"


def _type_name(route: str) -> str:
    return "".join(word.capitalize() for word in route.replace("-", "_").split("_"))


def _interface(name: str, schema: Schema, meaning: str) -> str:
    return f"{_comment(meaning)}export interface {name} {_object(schema)}\n"


def _table(name: str, types: Mapping[str, str], meaning: str) -> str:
    lines = [f"  readonly {json.dumps(key)}: {_indented(text)};" for key, text in types.items()]
    return "\n".join([f"{_comment(meaning)}export interface {name} {{", *lines, "}", ""])


def _operations(operations: Mapping[str, Schema]) -> str:
    kinds = "".join(f"\n  | {_indented(_type(schema))}" for schema in operations.values())
    return f"{_comment('What a client may send.')}export type Operation ={kinds};\n"


def _close_codes(contract: PublicContract) -> str:
    words = " | ".join(json.dumps(word) for word in get_args(Reconnect))
    rules = contract.close_rules.items()
    reconnects = "".join(f"  {code.value}: {json.dumps(rule.reconnect)},\n" for code, rule in rules)
    meanings = "".join(f"  {code.value}: {json.dumps(rule.meaning)},\n" for code, rule in rules)
    return (
        f"{_comment('Whether, and how, a client comes back.')}export type Reconnect = {words};\n\n"
        f"{_comment('What to do about each close code.')}"
        f"export const RECONNECT: Readonly<Record<number, Reconnect>> = {{\n{reconnects}}};\n\n"
        f"{_comment('What each close code means.')}"
        f"export const CLOSE_MEANING: Readonly<Record<number, string>> = {{\n{meanings}}};\n"
    )


def _constant(limit: Limit) -> str:
    return f"{_comment(limit.meaning)}export const {limit.name} = {json.dumps(limit.value)};\n"


def _type(schema: Schema) -> str:
    """The type of what fits a plain schema; `unknown` where it says nothing that a type can say."""
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "array":
            return f"readonly ({_type(schema.get('items', {}))})[]"
        case "object":
            return _object(schema)
        case str(word):
            return _WORDS[word]
    return "unknown"


def _object(schema: Schema) -> str:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    required: Sequence[str] = schema.get("required", [])
    lines = [_property(name, one, optional=name not in required) for name, one in properties.items()]
    more: Any = schema.get("additionalProperties", not properties)
    if more is not False:
        # TypeScript wants an index signature that fits the named properties, too.
        value = _type(more) if isinstance(more, dict) and not properties else "unknown"
        lines.append(f"  readonly [name: string]: {value};\n")
    return "{\n" + "".join(lines) + "}" if lines else "{}"


def _property(name: str, schema: Schema, *, optional: bool) -> str:
    key = name if name.isidentifier() else json.dumps(name)
    comment = _comment(schema["description"]) if "description" in schema else ""
    declaration = f"readonly {key}{'?' if optional else ''}: {_type(schema)};\n"
    return "".join(f"  {line}\n" for line in (comment + declaration).splitlines())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _comment(text: str) -> str:
    lines = text.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */", ""])
