"""What the documentation names beside settings and codes is there: rooms, tests, values, spans, log lines.

Of the tables that remain, those of docs/performance.md, docs/capacity.md and docs/reliability.md hold what
was measured (each names its command), and the others sentences.
"""

import re
from collections.abc import Iterator, Mapping
from typing import get_args

import pytest
import yaml

from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.demo.result_aggregator import Status
from doorstep.gateway.public_contract import public_contract
from tests.test_docs_tables import GUIDE, OPERATIONS, PROTOCOL, ROOT, SOURCES, table, words
from tests.test_layout import MAY_IMPORT, ROOMS

pytestmark = pytest.mark.patient

ARCHITECTURE, RELIABILITY, KUBERNETES = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("architecture", "reliability", "kubernetes")
)
CLIENT = ROOT / "frontend" / "packages" / "client"
README, TYPES = (CLIENT / "README.md").read_text(), (CLIENT / "src" / "types.ts").read_text()


def firsts(page: str, head: str) -> set[str]:
    """What stands as code in the first column of a table."""
    return {word for row in table(page, head) for word in words(row[0])}


def choices(name: str, source: str) -> set[str]:
    """The words of a union in the client's types."""
    found = re.search(rf"^export type {name} =(.*?);\n\n", f"{source}\n\n", re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r'"(\w+)"', found[1]))


def test_packages_rooms_and_folders() -> None:
    assert firsts(ARCHITECTURE, "package | what it is |") == {f"doorstep.{name}" for name in MAY_IMPORT}
    rooms = {room.removeprefix("actors/") for floor in ROOMS for room in floor}
    assert firsts(ARCHITECTURE, "room | what is in it |") == rooms
    folders = firsts(ARCHITECTURE, "folder | what is in it |")
    assert {folder for folder in folders if not (ROOT / folder.replace("…", "")).exists()} == set()


def test_every_query_field() -> None:
    field = re.compile(r'fields\w*(?:\(\S+\))?(?:\.get\(|, )"(\w+)"')
    read = {name for text in SOURCES for name in field.findall(text)}
    polling = re.search(r"## Polling: `\S+ (\S+)`", PROTOCOL)
    assert polling is not None
    told = set(re.findall(r"[?&](\w+)=", f"{firsts(PROTOCOL, 'part | value |')} {polling[1]}"))
    told |= set(re.findall(r"`[?&](\w+)=", PROTOCOL))
    assert told == read - {"alg", "kid"}  # of a token's header


def test_every_span() -> None:
    begun = {name for text in SOURCES for name in re.findall(r'\.begin\(\s*"(\w+)"', text)}
    assert firsts(OPERATIONS, "span | is | of |") == begun


def test_lines_of_the_log_and_metrics_that_operators_are_to_look_at() -> None:
    """Wherever the manual names one."""
    snake = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
    prose = re.sub(r"^```.*?^```", "", OPERATIONS, flags=re.MULTILINE | re.DOTALL)
    named = set(snake.findall(" ".join(words(prose))))
    metrics = {name.removesuffix("_bucket") for name in named if name.startswith("doorstep_")}
    assert metrics <= firsts(OPERATIONS, "metric | type | what it counts |")
    ours = named - metrics - {"parentbased_traceidratio"}  # of OpenTelemetry
    assert ours <= {name for text in SOURCES for name in snake.findall(text)}


def _tests_of(fault: str) -> Iterator[tuple[str, list[str]]]:
    """The files that a row names, and the parts of names of tests in them."""
    for file, named in re.findall(r"`((?:tests/[\w/]*)?(?:test_\w+\.py)?)`(?: \(([^)]*)\))?", fault):
        if file:
            yield file, [word.replace("…", ".*") for word in words(named) if re.fullmatch(r"[\w…]+", word)]


def test_every_fault_has_the_test_that_is_named() -> None:
    files = {file.name: file for file in (ROOT / "tests").rglob("test_*.py")}
    rows = table(RELIABILITY, "fault | test |")
    named = [(row[0], *each) for row in rows for each in _tests_of(row[1])]
    assert len(named) > len(rows)
    for fault, name, parts in named:
        file = ROOT / name if "/" in name else files[name]
        assert file.exists(), fault
        tests = re.findall(r"def (test_\w+)", file.read_text()) if file.is_file() else []
        for part in parts:
            assert any(re.search(part, test) for test in tests), f"{fault}: {part}"


def test_values_of_the_chart() -> None:
    known = set(_paths(yaml.safe_load((ROOT / "deploy/helm/values.yaml").read_text()), ""))
    pages = KUBERNETES.split("## As a Ray cluster")
    named = {word for page in pages for row in table(page, "what | how |") for word in words(row[1])}
    values = {word for word in named if re.fullmatch(r"[a-z]+(?:[A-Z.]\w*)+", word)}
    assert len(values) > 8
    assert values <= known


def _paths(values: Mapping[str, object], above: str) -> Iterator[str]:
    for name, value in values.items():
        yield f"{above}{name}"
        yield name
        if isinstance(value, dict):
            yield from _paths(value, f"{above}{name}.")


def test_what_the_client_says_and_asks() -> None:
    assert firsts(GUIDE, "`why` | when | what to give |") == choices("TokenReason", TYPES)
    assert firsts(README, "`status.state` | meaning | to show |") == choices("Status", TYPES)
    (reasons,) = [row[1] for row in table(README, "| |") if row[0].startswith("`load(")]
    assert set(words(reasons)) - {"signal", "fetch"} == choices("LoadReason", TYPES)


def test_sizes_of_the_clients_entries() -> None:
    (budgets,) = re.findall(r"BUDGET_BYTES = \{(.+)\}", (CLIENT / "sizes.mjs").read_text())
    names = {"index": "@doorstep/client"}
    limits = {
        names.get(entry, f"/{entry.removesuffix('/index')}"): f"{int(limit) / 1024:.1f} KB"
        for entry, limit in re.findall(r'([\w/]+)"?:\s*(\d+)', budgets)
    }
    rows = table(README, "| gzipped |")
    assert limits == {words(what)[0]: size for what, size in rows if size.endswith("KB")}


def test_events_of_the_guide_have_their_fields() -> None:
    shapes = {each.event: each for each in public_contract(load_routes(Settings().routes), Settings()).events}
    told = {tuple(words(event)): words(data) for event, _, data in table(GUIDE, "event | when | `data` |")}
    assert {name for event in told for name in event} == {name for name in shapes if name is not None}
    for event, fields in told.items():
        known = shapes[event[0] if event else None].data["properties"]
        assert set(fields) == set(known) if event else set(fields) <= set(known)


def test_calls_and_statuses_of_the_platform() -> None:
    served = {
        f"{method.upper()} {path}"
        for file in (ROOT / "demo").glob("*.py")
        for method, path in re.findall(r'web\.(get|post)\("(/v1/[^"]+)"', file.read_text())
    }
    assert {words(call)[0] for call, _ in table(GUIDE, "call | answer |")} == served
    rows = table(GUIDE, "`status` of a file | means | in the state |")
    assert {words(row[0])[0] for row in rows} == set(get_args(Status))
    batch = (CLIENT / "src" / "state" / "batch.ts").read_text()
    assert {words(row[2])[0] for row in rows} <= choices("FileStatus", batch)
