"""Whatever a fixture starts, its tests are marked with."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.markers import BY_FIXTURE, STARTERS, markers_for

pytestmark = pytest.mark.patient

TESTS = Path(__file__).parent


def _calls(node: ast.AST) -> set[str]:
    """The names of what is called in it."""
    return {
        call.func.id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }


def _name(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What a fixture is called: its function's name, or `name=` of its decorator."""
    named = (
        keyword.value.value
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    )
    return str(next(named, function.name))


def _starting(source: str) -> Iterator[tuple[str, str]]:
    """Function and marker, for each fixture and each test of a module that starts something itself."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_fixture = any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
        if is_fixture or node.name.startswith("test_"):
            yield from (
                (_name(node), marker) for marker, starters in STARTERS.items() if _calls(node) & starters
            )


def _helped(source: str) -> set[str]:
    """Fixtures of a module that use one that is known, so that pytest tells of both."""
    return {
        _name(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in node.args.args
        if any(argument.arg in fixtures for fixtures in BY_FIXTURE.values())
    }


def _unmarked(source: str) -> list[str]:
    return [
        f"{name} starts {marker}"
        for name, marker in _starting(source)
        if name not in BY_FIXTURE[marker] | _helped(source) and f"pytest.mark.{marker}" not in source
    ]


def test_every_fixture_that_starts_something_has_its_marker() -> None:
    files = [*TESTS.rglob("conftest.py"), *TESTS.rglob("test_*.py")]
    assert {file.name: found for file in files if (found := _unmarked(file.read_text()))} == {}


def test_a_fixture_that_is_not_known_is_noticed() -> None:
    source = "@pytest.fixture\ndef mine():\n    yield new_kafka()\n"
    assert _unmarked(source) == ["mine starts kafka"]
    assert _unmarked(source.replace("mine", "broker")) == []
    assert _unmarked("def test_alone():\n    DemoCommand()\n") == ["test_alone starts ray"]


@pytest.mark.parametrize(
    ("fixtures", "expected"),
    [
        ({"names", "tmp_path"}, set()),
        ({"valkey", "_shared_valkey"}, {"valkey"}),
        ({"service", "launch", "broker", "store"}, {"kafka", "valkey", "ray"}),
    ],
)
def test_markers_follow_from_fixtures(fixtures: set[str], expected: set[str]) -> None:
    assert markers_for(fixtures) == expected


def test_markers_are_registered(pytestconfig: pytest.Config) -> None:
    registered = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert set(BY_FIXTURE) | {"slow"} <= registered


@pytest.mark.usefixtures("valkey")
def test_this_test_has_its_marker(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("valkey") is not None
