"""The contract read from the code, and the three forms in which it is written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.gateway import messages
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.event_reference import event_reference
from doorstep.gateway.json_schema import NULL, an_object
from doorstep.gateway.public_contract import PublicContract, public_contract
from doorstep.gateway.typescript import typescript
from tests.gateway.test_messages import TERMS

START = Cursor(0, "5" * 16)

ROOT = Path(__file__).parents[2]

SHIPPED = public_contract(load_routes(Settings().routes), Settings())


@pytest.fixture
def of_routes(tmp_path: Path) -> Callable[[str], PublicContract]:
    def contract(text: str) -> PublicContract:
        file = tmp_path / "routes.toml"
        file.write_text(text)
        return public_contract(load_routes(file), Settings())

    return contract


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("frontend/packages/client/src/contract.generated.ts", typescript(SHIPPED)),
        ("docs/asyncapi.json", asyncapi(SHIPPED).decode()),
        ("docs/events.md", event_reference(SHIPPED)),
    ],
)
def test_the_files_in_the_repository_are_what_the_source_generates(file: str, written: str) -> None:
    assert (ROOT / file).read_text() == written, "run `make contract`"


@pytest.mark.parametrize(
    "message",
    [
        messages.welcome("t", START, TERMS, resumed=False, reset="gone"),
        messages.reset("gone", START),
        messages.read_moved(1, 0),
        messages.token_expiring(1),
        messages.refreshed(),
        messages.pong(),
        messages.reconnect(1),
    ],
)
def test_a_control_message_has_the_fields_that_its_schema_promises(message: bytes) -> None:
    told = json.loads(message)
    schema = SHIPPED.controls[told["event"]]
    assert set(told["data"]) == set(schema.get("required", ())) == set(schema.get("properties", ()))


def test_every_message_has_a_name_of_its_own_in_asyncapi() -> None:
    messages_there = json.loads(asyncapi(SHIPPED))["components"]["messages"]
    assert len(messages_there) == len(SHIPPED.events) + len(SHIPPED.controls) + len(SHIPPED.operations)


def test_operations_are_those_that_the_server_reads() -> None:
    examples = {"cursor": str(START), "token": "t"}
    for schema in SHIPPED.operations.values():
        names = [name for name in schema["required"] if name != "op"]
        operation = {"op": schema["properties"]["op"]["const"], **{name: examples[name] for name in names}}
        messages.parse_op(json.dumps(operation).encode())


def test_every_close_code_is_in_every_form() -> None:
    for form in (typescript(SHIPPED), asyncapi(SHIPPED).decode(), event_reference(SHIPPED)):
        assert [code for code in CloseCode if str(code.value) not in form] == []


ROUTE = """
[route.export-finished]
topics = ["acme.export.finished.v1"]
contract = "TeacherNotificationRequestedV1"
user = "data.teacher_id"
event = "export.finished"
[route.export-finished.data]
pages = "data.payload.pages"
batch = ["data.batch_id", "data.class_id"]
"due-date" = "data.deadline_timestamp"
"""


def test_routes_of_ones_own_become_types_of_ones_own(of_routes: Callable[[str], PublicContract]) -> None:
    text = typescript(of_routes(ROUTE))
    assert 'readonly "export.finished": ExportFinished;' in text
    assert "readonly pages: unknown;" in text
    assert "readonly batch: string | null;" in text
    assert 'readonly "due-date": string | null;' in text


def test_an_object_that_goes_in_whole_leaves_its_fields_open() -> None:
    (notification,) = (shape for shape in SHIPPED.events if shape.event is None)
    assert notification.data["additionalProperties"] is True
    assert notification.data["properties"]["action_required"]["type"] == "boolean"
    assert "readonly [name: string]: unknown;" in typescript(SHIPPED)


def test_schemas_become_types(of_routes: Callable[[str], PublicContract]) -> None:
    shape = of_routes(ROUTE).events[0]
    schema = an_object(
        {
            "list": {"type": "array", "items": {"anyOf": [{"type": "integer"}, NULL]}},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
            "word": {"enum": ["a", "b"]},
            "nested": {"type": "object", "properties": {"deep": {"type": "boolean"}}},
        }
    )
    events = [type(shape)(shape.route, shape.event, "Ends */ early.", shape.topics, schema)]
    text = typescript(PublicContract(events, {}, {}, {}, []))
    assert "readonly list: readonly (number | null)[];" in text
    assert "readonly map: {\n    readonly [name: string]: number;\n  };" in text
    assert 'readonly word: "a" | "b";' in text
    assert "readonly nested: {\n    readonly deep?: boolean;\n  };" in text
    assert "Ends * / early." in text


def test_no_cell_of_the_reference_breaks_its_table(of_routes: Callable[[str], PublicContract]) -> None:
    for line in event_reference(of_routes(ROUTE)).splitlines():
        assert line.count("|") in (0, 4)
