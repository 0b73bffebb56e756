"""A routes file is checked whole, the shipped one is the public contract's, and the guide's example runs."""

import json
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from doorstep.actors.consuming.decode import Event, decode
from doorstep.config.routes import ContextRoute, EventRoute, RoutesError, RouteTable, load_routes
from doorstep.config.settings import Settings
from doorstep.config.sources import Source
from tests.support.records import (
    LIFECYCLE_SLOT_TOPIC,
    REGISTRATION_TOPIC,
    SLOT_TOPIC,
    TEACHER_TOPIC,
    VALIDATION_TOPIC,
    Consumed,
)

pytestmark = pytest.mark.patient

SHIPPED = Path(Settings.model_fields["routes"].default)
GUIDE = Path(__file__).parents[2] / "docs" / "routes.md"

GOOD = """
[route.slot]
topics = ["slots"]
contract = "EssaySlotAssignedV1"
user_from_batch = "data.batch_id"
event = "slot"
dedupe = ["data.essay_id"]
data.essay = "data.essay_id"

[context.batch]
topics = ["batches"]
contract = "BatchEssaysRegisteredV1"
batch = ["data.entity_id", "data.batch_id"]
user = "data.user_id"
"""


def _load(tmp_path: Path, text: str) -> RouteTable:
    path = tmp_path / "routes.toml"
    path.write_text(text, encoding="utf-8")
    return load_routes(path)


def _complaints(tmp_path: Path, text: str) -> list[str]:
    """Everything that is wrong, without the file's name, which each line must start with."""
    with pytest.raises(RoutesError) as caught:
        _load(tmp_path, text)
    prefix = f"{tmp_path / 'routes.toml'}: "
    lines = str(caught.value).splitlines()
    assert all(line.startswith(prefix) for line in lines)
    assert len(lines) == len(caught.value.mistakes)
    return [line.removeprefix(prefix) for line in lines]


def _paths(fields: Mapping[str, Source]) -> dict[str, str]:
    return {name: source.text for name, source in fields.items()}


def test_the_shipped_routes_read_the_topics_of_the_public_contract() -> None:
    routes = load_routes(SHIPPED)
    assert routes.event_topics == {LIFECYCLE_SLOT_TOPIC, SLOT_TOPIC, VALIDATION_TOPIC, TEACHER_TOPIC}
    assert routes.context_topics == {REGISTRATION_TOPIC}
    assert [route.name for route in routes.routes] == [
        "route.essay_slot_assigned",
        "route.essay_validation_failed",
        "route.teacher_notification",
        "context.batch_registered",
    ]


def test_the_shipped_slot_route() -> None:
    routes = load_routes(SHIPPED)
    slot = routes.by_topic[SLOT_TOPIC]
    assert slot is routes.by_topic[LIFECYCLE_SLOT_TOPIC]
    assert isinstance(slot, EventRoute)
    assert slot.event == "essay.slot.assigned"
    assert slot.batch is not None
    assert slot.batch.text == "data.batch_id"
    assert slot.user is None
    assert [source.text for source in slot.dedupe] == [
        "data.batch_id",
        "data.essay_id",
        "data.file_upload_id",
    ]
    names = ["batch_id", "essay_id", "file_upload_id", "text_storage_id", "original_file_name"]
    assert _paths(slot.data) == {name: f"data.{name}" for name in names}
    assert not slot.open_ended


def test_the_shipped_registration_route() -> None:
    registration = load_routes(SHIPPED).by_topic[REGISTRATION_TOPIC]
    assert isinstance(registration, ContextRoute)
    assert registration.batch.text == "data.entity_id or data.batch_id"
    assert registration.user.text == "data.user_id"


def test_defaults_of_a_route(tmp_path: Path) -> None:
    slot = _load(tmp_path, GOOD).by_topic["slots"]
    assert isinstance(slot, EventRoute)
    assert slot.correlation_id.text == "correlation_id"
    assert slot.data_from is None
    assert slot.topics == {"slots"}
    assert slot.envelope.__name__ == "EssaySlotAssignedV1Envelope"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('event = "slot"', 'evnt = "slot"', "[route.slot] evnt: isn't known here: remove it, or use topics,"),
        ('contract = "EssaySlotAssignedV1"\n', "", "[route.slot] contract: is missing: add it"),
        ('topics = ["slots"]', "topics = []", "[route.slot] topics: has the wrong form: list should have"),
        ('topics = ["slots"]', 'topics = "slots"', "[route.slot] topics: has the wrong form"),
        ('topics = ["slots"]', "topics = [7]", "[route.slot] topics.0: has the wrong form"),
        ('topics = ["slots"]', 'topics = ["a b"]', '[route.slot] topics: "a b" can\'t be the name'),
        ('topics = ["slots"]', 'topics = [".."]', '[route.slot] topics: ".." can\'t be the name'),
        ('topics = ["slots"]', 'topics = ["s", "s"]', '[route.slot] topics: "s" is twice here'),
        (
            'topics = ["batches"]',
            'topics = ["slots"]',
            '[context.batch] topics: "slots" is in [route.slot] too',
        ),
        (
            'contract = "EssaySlotAssignedV1"',
            'contract = "EssaySlotAssigned"',
            '[route.slot] contract: there is no model "EssaySlotAssigned" in doorstep.config.contracts '
            "(there are: EssaySlotAssignedV1,",
        ),
        ("EssaySlotAssignedV1", "Envelope", '[route.slot] contract: there is no model "Envelope"'),
        ("EssaySlotAssignedV1", "BaseModel", '[route.slot] contract: there is no model "BaseModel"'),
        ("EssaySlotAssignedV1", "json:loads", '[route.slot] contract: there is no model "loads" in json'),
        (
            "EssaySlotAssignedV1",
            "no_such_module:X",
            '[route.slot] contract: "no_such_module" can\'t be imported (ModuleNotFoundError:',
        ),
        (
            'data.essay = "data.essay_id"',
            'data.essay = "data.esay_id"',
            '[route.slot] data.essay: "data.esay_id" can\'t be found: EssaySlotAssignedV1 has no "esay_id"; '
            'did you mean "data.essay_id"?',
        ),
        (
            'data.essay = "data.essay_id"',
            "data.essay = 7",
            "[route.slot] data.essay: has the wrong form: input should be a valid list",
        ),
        ('["data.essay_id"]', '["data.eid"]', '[route.slot] dedupe: "data.eid" can\'t be found'),
        ('["data.essay_id"]', '["metadata"]', "[route.slot] dedupe: "),
        (
            'user_from_batch = "data.batch_id"',
            'user_from_batch = "data.batch"',
            '[route.slot] user_from_batch: "data.batch" can\'t be found',
        ),
        (
            'user_from_batch = "data.batch_id"',
            'user_from_batch = "schema_version"',
            '[route.slot] user_from_batch: "schema_version" is of type int, but must be text',
        ),
        (
            'user_from_batch = "data.batch_id"',
            'user_from_batch = "data.batch_id"\nuser = "data.essay_id"',
            "[route.slot] user: or user_from_batch must be given, and only one of them",
        ),
        (
            'user_from_batch = "data.batch_id"\n',
            "",
            "[route.slot] user: or user_from_batch must be given, and only one of them",
        ),
        (
            'event = "slot"',
            'event = "slot"\nevent_from = "data.essay_id"',
            "[route.slot] event: or event_from must be given, and only one of them",
        ),
        ('event = "slot"\n', "", "[route.slot] event: or event_from must be given, and only one of them"),
        (
            'event = "slot"',
            'event = "doorstep.slot"',
            '[route.slot] event: "doorstep.slot" starts with "doorstep.", which only the server\'s own',
        ),
        ('event = "slot"', 'event = "a\\u0007"', "[route.slot] event:"),
        (
            'event = "slot"',
            'event = "slot"\ndata_from = "data.essay_id"',
            '[route.slot] data_from: "data.essay_id" is of type str, but must be an object',
        ),
        (
            'event = "slot"',
            'event = "slot"\ncorrelation_id = "data.cid"',
            '[route.slot] correlation_id: "data.cid" can\'t be found',
        ),
        (
            'user = "data.user_id"',
            'user = "data.usr"',
            '[context.batch] user: "data.usr" can\'t be found',
        ),
        ('user = "data.user_id"', "", "[context.batch] user: is missing"),
        ("[context.batch]", "[contexts.batch]", "contexts.batch: isn't known here"),
        ("[context.batch]", "[context]", "context.topics: isn't known here"),
        ("\n[route.slot]", "version = 1\n[route.slot]", "version: isn't known here"),
    ],
)
def test_a_mistake_is_named_with_route_and_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    complaints = _complaints(tmp_path, GOOD.replace(old, new, 1))
    assert any(line.startswith(complaint) for line in complaints), complaints


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD
    for old, new in [
        ("EssaySlotAssignedV1", "Nothing"),
        ('event = "slot"', 'event = "doorstep.x"'),
        ('user = "data.user_id"', 'user = "data.usr"'),
        ('"data.batch_id"]', '"data.btch"]'),
    ]:
        text = text.replace(old, new)
    problems = [line.partition(": ")[0] for line in _complaints(tmp_path, f"{text}\n[route.empty]\n")]
    assert problems == [
        "[route.empty] topics",
        "[route.empty] contract",
        "[route.slot] event",
        "[route.slot] contract",
        "[context.batch] batch",
        "[context.batch] user",
    ]


def test_a_user_from_a_batch_needs_a_context(tmp_path: Path) -> None:
    [complaint] = _complaints(tmp_path, GOOD[: GOOD.index("[context")])
    assert complaint.startswith("[route.slot] user_from_batch: needs a table [context.<name>]")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "has no routes"), (b"[route", "isn't TOML in UTF-8"), (b"a = '\xff'", "isn't TOML in UTF-8")],
)
def test_a_file_that_is_no_routes_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "routes.toml"
    path.write_bytes(content)
    with pytest.raises(RoutesError, match=f"{re.escape(str(path))}: {complaint}"):
        load_routes(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RoutesError, match=r"nowhere\.toml: can't be read \(No such file or directory\)"):
        load_routes(tmp_path / "nowhere.toml")


def test_an_error_travels_between_processes(tmp_path: Path) -> None:
    with pytest.raises(RoutesError) as caught:
        _load(tmp_path, "")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.mistakes) == (str(caught.value), caught.value.mistakes)


@pytest.fixture
def own_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for modules of one test."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)


def test_a_contract_that_pydantic_cannot_use_is_named(own_contracts: Path) -> None:
    (own_contracts / "half_made.py").write_text(
        "from pydantic import BaseModel\nclass Half(BaseModel):\n    user_id: 'Missing'\n"
    )
    complaints = _complaints(own_contracts, GOOD.replace("EssaySlotAssignedV1", "half_made:Half"))
    assert complaints[0].startswith("[route.slot] contract: Half can't be used: ")


def test_the_example_of_the_guide_does_what_the_guide_says(own_contracts: Path) -> None:
    guide = GUIDE.read_text(encoding="utf-8").replace("\n   ", "\n")
    model, table, sent, shown = re.findall(r"```(?:python|toml|json)\n(.*?)```", guide, re.DOTALL)
    (own_contracts / "acme_contracts.py").write_text(model)
    routes = _load(own_contracts, SHIPPED.read_text(encoding="utf-8") + table)
    event = decode(Consumed("acme.export.finished.v1", None, sent.encode()), routes, 1 << 20)
    assert isinstance(event, Event)
    assert event.user_id == "teacher-1"
    assert json.loads(event.payload) == json.loads(shown)
