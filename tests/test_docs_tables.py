"""Every table of the documentation that says what the code knows says the same.

Compared elsewhere are metrics (tests/e2e/test_admin.py), the rights of the Redis user
(tests/actors/store/test_rights.py), what a page gets in events (tests/gateway/test_public_contract.py), and
the names of tests, rooms, spans and the like (tests/test_docs_names.py).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from doorstep.actors.commands.options import ExitStatus
from doorstep.actors.commands.serve import serve
from doorstep.actors.commands.verbs import app
from doorstep.actors.kafka.dead_letters import LetterReason, RejectReason
from doorstep.config.routes_file import EventTable
from doorstep.config.setting_names import paths_of, variable
from doorstep.config.settings import Settings, load_settings
from doorstep.gateway import messages
from doorstep.gateway.auth import AuthCode
from doorstep.gateway.close_codes import CLOSE_RULES
from doorstep.gateway.cursor import ResetReason
from doorstep.gateway.http import make_admin_pages, make_pages
from doorstep.gateway.paths import ENDPOINT_PATH, POLL_PATH, WS_PATH

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
PROTOCOL, OPERATIONS, ROUTES, GUIDE, CONTAINERS = (
    (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("protocol", "operations", "routes", "FRONTEND_INTEGRATION_GUIDE", "containers")
)
SOURCES = [file.read_text() for room in ("gateway", "actors") for file in (ROOT / room).rglob("*.py")]

Row = Sequence[str]


def table(page: str, head: str) -> list[Row]:
    """The rows of the one table whose first line begins so: their cells."""
    _, found, rest = page.partition(f"\n| {head}")
    assert found, head
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines]


def words(text: str) -> list[str]:
    """What stands in it as code."""
    return re.findall(r"`([^`]+)`", text)


def problems() -> dict[str, int]:
    """By its code, the status of every refusal there is."""
    refusal = re.compile(r"(?:Problem|HeadError)\(\s*(\d{3}),\s*\"(\w+)\"")
    found = {code: int(status) for text in SOURCES for status, code in refusal.findall(text)}
    assert len(found) > 20
    return found | {code: 503 if code == "auth_unavailable" else 401 for code in get_args(AuthCode)}


def test_close_codes() -> None:
    said = {
        "at once, with jitter": "with_jitter",
        "with backoff": "with_backoff",
        "with a new token": "with_new_token",
        "no": "never",
    }
    rows = table(PROTOCOL, "code | meaning | reconnect |")
    told = {int(code): said[reconnect] for codes, _, reconnect in rows for code in codes.split(", ")}
    assert told == {code.value: rule.reconnect for code, rule in CLOSE_RULES.items()}


def test_problems_of_the_protocol_have_their_status() -> None:
    known = problems()
    for statuses, codes, *_ in table(PROTOCOL, "status | `code` |"):
        told = [word for word in words(codes) if word in known]
        assert told
        assert {str(known[code]) for code in told} == set(statuses.split(", "))


@pytest.mark.parametrize("page", [PROTOCOL, GUIDE], ids=["protocol", "guide"])
def test_problems_are_all_there_with_their_status(page: str) -> None:
    told: dict[str, list[str]] = {}
    for statuses, codes, *_ in table(page, "status | `code` |"):
        told |= dict.fromkeys(words(codes), statuses.split(", "))
    assert {
        code: status for code, status in problems().items() if str(status) not in told.get(code, ())
    } == {}


def test_messages_of_the_server() -> None:
    told = {
        words(event)[0]: words(data) for event, data, _ in table(PROTOCOL, "`event` | `data` | meaning |")
    }
    known = {each.event: set(each.model_fields) for each in messages.CONTROLS}
    assert {event: set(fields) for event, fields in told.items()} == known


def test_messages_of_the_client() -> None:
    told = {word for message, _ in table(PROTOCOL, "message | meaning |") for word in words(message)}
    operations = [messages.parse_op(each.replace("…", "1-0000000000000000").encode()) for each in told]
    assert {type(each) for each in operations} == set(get_args(messages.Op))


def test_reasons_of_a_reset() -> None:
    told = PROTOCOL.partition("The reasons of a reset: ")[2].partition("\n\n")[0]
    assert {*words(told)} == {*get_args(ResetReason)}


def test_reasons_of_dead_letters() -> None:
    told = [word for reasons, _ in table(OPERATIONS, "reason | meaning |") for word in words(reasons)]
    assert sorted(told) == sorted(get_args(LetterReason))
    at_once = [word for reasons, _ in table(ROUTES, "reason | meaning |") for word in words(reasons)]
    assert sorted(at_once) == sorted(get_args(RejectReason))


def test_fields_of_a_route() -> None:
    told = [word for field, _ in table(ROUTES, "field | meaning |") for word in words(field)]
    assert sorted(told) == sorted(EventTable.model_fields)


def test_paths() -> None:
    async def nothing() -> bytes:
        return b""

    async def ready() -> bool:
        return True

    async def status() -> Mapping[str, object]:
        return {}

    public = {words(path)[0] for path, _ in table(PROTOCOL, "path | answer |")}
    assert public == {*make_pages(lambda: True, nothing), ENDPOINT_PATH}
    operators = {words(path)[0] for path, _ in table(OPERATIONS, "path | answer |")}
    assert operators == set(make_admin_pages(lambda: True, ready, status, nothing))
    assert f"`GET {WS_PATH}`" in PROTOCOL
    assert f"`GET {POLL_PATH}" in PROTOCOL


def test_exit_statuses_of_serve() -> None:
    told = OPERATIONS.partition("The exit status of `serve` is ")[2].partition("However")[0]
    helped = (serve.__doc__ or "").partition("The exit status is ")[2]
    statuses = [str(status.value) for status in ExitStatus]
    assert re.findall(r"\b\d\b", told) == statuses
    assert re.findall(r"\b\d\b", helped) == statuses


NOT_SETTINGS = {"DOORSTEP_PUBLISH", "DOORSTEP_IMAGE", "DOORSTEP_TEST_KAFKA_JARS", "DOORSTEP_URL"}
"""Variables of the compose file, of the tests, and of a page's own build."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist_and_have_the_default_that_is_told(page: Path) -> None:
    text = page.read_text()
    known = {variable(*path): path for path in paths_of(Settings)}
    told = set(re.findall(r"\bDOORSTEP_[A-Z0-9_]*[A-Z0-9]", text)) - NOT_SETTINGS
    if page.name != "CHANGELOG.md":  # which names what is gone, too
        assert told - known.keys() == set()
    for name, value in re.findall(r"`(DOORSTEP_[A-Z0-9_]+)` \(([0-9.,]+)\)", text):
        assert (name, float(value.replace(",", ""))) == (name, default(known[name]))


def default(path: Sequence[str]) -> float:
    """The default of a number among the settings."""
    value: object = load_settings()
    for name in path:
        value = getattr(value, name)
    assert isinstance(value, int | float)
    return value


def test_variables_of_the_compose_file() -> None:
    told = {word for names, *_ in table(CONTAINERS, "variable | default |") for word in words(names)}
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "deploy/compose.yaml").read_text()))
    assert told == used


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    text = page.read_text()
    block = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    lines = [*words(block.sub("", text)), *"".join(block.findall(text)).splitlines()]
    assert [wrong for line in lines for wrong in mistakes_in(line)] == []


def mistakes_in(line: str) -> list[str]:
    """What is wrong with a call of our command, if it is one: a verb or an option that it does not have."""
    called = re.match(r"(?:\S*/)?doorstep ([a-z][^#|]*)", line)
    if called is None:
        return []
    command: Any = typer.main.get_command(app)  # of the click that typer brings along
    given = called[1].split()
    while hasattr(command, "commands") and given:
        command = command.commands.get(given.pop(0))
        if command is None:
            return [line]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [line for word in given if word.startswith("--") and word.partition("=")[0] not in known]
