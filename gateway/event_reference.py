"""The public contract for people, in Markdown: `docs/events.md`."""

from collections.abc import Iterable, Iterator, Sequence

from doorstep.gateway.json_schema import NULL, Schema
from doorstep.gateway.public_contract import EventShape, PublicContract

_INTRODUCTION = """\
# Events

Written by `make contract` from contracts, routes and messages; with routes of your own,
`doorstep contract markdown` writes yours. For tools: [asyncapi.json](asyncapi.json), which a running
Doorstep serves at `/asyncapi.json`. What frames them: [protocol.md](protocol.md).
"""

_RECONNECT = {
    "never": "no",
    "with_jitter": "at once, with jitter",
    "with_backoff": "with backoff",
    "with_new_token": "with a new token",
}


def event_reference(contract: PublicContract) -> str:
    """Every event with the fields of its `data`, the server's and the client's messages, codes and limits."""
    return "\n".join([_INTRODUCTION, *_sections(contract)])


def _sections(contract: PublicContract) -> Iterator[str]:
    yield "## Notifications\n"
    yield from map(_event, contract.events)
    yield "## Messages of the server\n"
    for event, data in contract.controls.items():
        yield f"### `{event}`\n\n{data['description']}\n\n{_fields(data)}"
    yield "## Messages of the client\n"
    yield _table(
        ["op", "fields", "meaning"],
        [
            [f"`{op}`", _names(field for field in schema["required"] if field != "op"), schema["description"]]
            for op, schema in contract.operations.items()
        ],
    )
    yield "## Close codes\n"
    yield _table(
        ["code", "meaning", "reconnect"],
        [
            [str(code.value), rule.meaning, _RECONNECT[rule.reconnect]]
            for code, rule in contract.close_rules.items()
        ],
    )
    yield "## Limits\n"
    yield _table(
        ["limit", "value", "meaning"],
        [[f"`{limit.name}`", f"`{limit.value}`", limit.meaning] for limit in contract.limits],
    )


def _event(shape: EventShape) -> str:
    title = "Any other name" if shape.event is None else f"`{shape.event}`"
    lead = "The name is the producer's own. " if shape.event is None else ""
    return f"### {title}\n\n{lead}{shape.meaning} From {_names(shape.topics)}.\n\n{_fields(shape.data)}"


def _fields(schema: Schema) -> str:
    rows = [
        [f"`{name}`", _type(one), one.get("description", "")]
        for name, one in schema.get("properties", {}).items()
    ]
    if "additionalProperties" in schema:
        rows.append(["…", "anything", "Whatever else the producer sends."])
    return _table(["field of `data`", "type", "meaning"], rows) if rows else "`data` is empty.\n"


def _type(schema: Schema) -> str:
    options: Sequence[Schema] = schema.get("anyOf", [schema])
    return " or ".join(
        "null" if option == NULL else str(option.get("type", "anything")) for option in options
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
