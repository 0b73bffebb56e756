"""JSON Schemas of pydantic models, made plain, and the part of one that a route's path leads to. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}

_NOISE = frozenset({"title", "default", "$defs"})
"""What pydantic adds and a reader of the contract has no use for."""


def plain(schema: Schema) -> Schema:
    """The same without references, titles and defaults. Where a model is inside itself, anything goes."""
    made: Schema = _plain(schema, schema.get("$defs", {}), ())
    return made


def at_paths(schema: Schema, paths: Sequence[str]) -> Schema:
    """What is at the first of `paths` that holds something, as a plain schema. `schema` is plain, too."""
    found = [_at(schema, path) for path in paths]
    kinds = [kind for one in found for kind in _alternatives(one)]
    holding = [kind for kind in kinds if kind != NULL]
    nullable = all(NULL in _alternatives(one) for one in found)
    return _either([*holding, *([NULL] if nullable else [])], found[0].get("description"))


def an_object(properties: Mapping[str, Schema], *, open_ended: Schema | bool = False) -> Schema:
    """An object that has all of `properties`; others, too, of the schema `open_ended` where that is given."""
    known: Schema = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return known if open_ended is False else known | {"additionalProperties": open_ended}


def _plain(schema: Any, definitions: Mapping[str, Schema], inside: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_plain(one, definitions, inside) for one in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if reference is None:
        return {
            key: _plain_properties(value, definitions, inside)
            if key == "properties"
            else _plain(value, definitions, inside)
            for key, value in schema.items()
            if key not in _NOISE
        }
    if reference in inside:
        return {}
    target = definitions[reference.removeprefix("#/$defs/")]
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return _plain({**target, **own}, definitions, (*inside, reference))


def _plain_properties(
    properties: Mapping[str, Schema], definitions: Mapping[str, Schema], inside: tuple[str, ...]
) -> Schema:
    """A property may be called as one of the words of JSON Schema are."""
    return {name: _plain(schema, definitions, inside) for name, schema in properties.items()}


def _at(schema: Schema, path: str) -> Schema:
    reached: list[Schema] = [schema]
    missing = False
    for name in path.split("."):
        parents = [kind for one in reached for kind in _alternatives(one)]
        below = [child for parent in parents for child in _children(parent, name)]
        missing = missing or any(name not in parent.get("properties", {}) for parent in parents)
        reached = below
    kinds = [kind for one in reached for kind in _alternatives(one)]
    return _either([*kinds, *([NULL] if missing else [])], reached[0].get("description") if reached else None)


def _children(parent: Schema, name: str) -> Iterator[Schema]:
    if name in (known := parent.get("properties", {})):
        yield known[name]
    elif not parent:
        yield {}
    elif isinstance(more := parent.get("additionalProperties"), dict) or more is True:
        yield more if isinstance(more, dict) else {}


def _alternatives(schema: Schema) -> Sequence[Schema]:
    options: Sequence[Schema] = schema.get("anyOf", [schema])
    return [{key: value for key, value in one.items() if key != "description"} for one in options]


def _either(kinds: Sequence[Schema], description: str | None) -> Schema:
    different = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
    if not all(kind for kind in different if kind != NULL):  # anything is null, too
        different = [{}]
    schema: Schema = different[0] if len(different) == 1 else {"anyOf": different}
    return schema if description is None else {**schema, "description": description}
