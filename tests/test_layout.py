"""The lines between the packages (docs/architecture.md), read from the sources themselves."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "config": {"config"},
    "gateway": {"config", "gateway"},
    "actors": {"config", "gateway", "actors"},
    "development": {"config", "gateway", "actors", "development"},
    "demo": {"config", "gateway", "actors", "development", "demo"},
    "benchmarks": {"config", "gateway", "actors", "development", "benchmarks"},
}
"""The direction: config <- gateway <- actors <- development <- demo, benchmarks."""

ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "ray": ("actors/control/",),
    "aiokafka": ("actors/kafka/",),
    "confluent_kafka": ("actors/kafka/",),
    "redis": ("actors/store/redis/",),
    "hiredis": ("actors/store/redis/",),
    "aiohttp": ("gateway/key_set.py",),
    "opentelemetry": ("actors/runtime/open_telemetry.py",),
    "websockets": (),
}
"""Where the core may know a library. (The demo stands for other people's services: it is free.)"""

CORE = ("config/", "gateway/", "actors/")

ROOMS: tuple[tuple[str, ...], ...] = (
    ("actors/records.py",),
    ("actors/placement/", "actors/runtime/", "actors/store/redis/"),
    ("actors/kafka/", "actors/store/"),
    ("actors/consuming/", "actors/holding/"),
    ("actors/control/",),
    ("actors/commands/",),
)
"""The floors of the house, from the ground up: a room knows the rooms below it, and none beside or above it.

So consuming and holding know nothing of each other. A folder that is not named here has no place yet.
"""

IMPURE_LIBRARIES = {
    "asyncio", "concurrent", "http", "multiprocessing", "os", "random", "secrets", "selectors", "signal",
    "socket", "ssl", "subprocess", "threading", "time",
    "aiohttp", "aiokafka", "confluent_kafka", "hiredis", "ray", "redis", "structlog", "uvloop", "websockets",
}  # fmt: skip
CLOCK_READINGS = {"now", "today", "utcnow"}
"""Of `datetime`, which is pure otherwise."""


@cache
def _sources() -> dict[str, ast.Module]:
    """File, relative to the repository -> its syntax tree; of all packages."""
    return {
        file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(), str(file))
        for package in MAY_IMPORT
        for file in (ROOT / package).rglob("*.py")
    }


def _imports(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of every module a file imports, wherever in it, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(file, node)
            yield node.lineno, module
            # `from doorstep import gateway` imports a package, too.
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names if module == "doorstep")


def _absolute(file: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = ["doorstep", *Path(file).parent.parts]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def wrong_directions(file: str, tree: ast.Module) -> list[str]:
    """Imports of packages that this file's package must not know."""
    allowed = MAY_IMPORT[Path(file).parts[0]]
    return [
        f"{file}:{line} imports {module}"
        for line, module in _imports(file, tree)
        if module.startswith("doorstep.") and module.split(".")[1] not in allowed
    ]


def bare_imports(file: str, tree: ast.Module) -> list[str]:
    """Imports of our folders as top-level packages, which is not what they are when installed."""
    return [
        f"{file}:{line} imports {module} (doorstep.{module} is meant)"
        for line, module in _imports(file, tree)
        if module.split(".")[0] in MAY_IMPORT
    ]


def misplaced_libraries(file: str, tree: ast.Module) -> list[str]:
    """Imports of a library outside of the core's files that are meant to know it."""
    if not file.startswith(CORE):
        return []
    return [
        f"{file}:{line} imports {module}"
        for line, module in _imports(file, tree)
        if not file.startswith(ONLY_IN.get(module.split(".")[0], CORE))
    ]


def is_pure(tree: ast.Module) -> bool:
    """Whether a module's docstring promises that it decides only: no socket, loop, client or clock."""
    return "Pure" in re.findall(r"\w+", ast.get_docstring(tree) or "")


def impurities(file: str, tree: ast.Module) -> list[str]:
    """What breaks the promise of a pure module, in itself or in a module of ours that it reaches."""
    return _impurities(file, tree, set()) if is_pure(tree) else []


def _impurities(file: str, tree: ast.Module, seen: set[str]) -> list[str]:
    seen.add(file)
    found = [
        f"{file}:{node.lineno} reads the clock"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_READINGS
    ]
    for line, module in _imports(file, tree):
        if module.split(".")[0] in IMPURE_LIBRARIES:
            found.append(f"{file}:{line} imports {module}")
        inner = _file_of(module)
        if inner is not None and inner not in seen:
            found += _impurities(inner, _sources()[inner], seen)
    return found


def _file_of(module: str) -> str | None:
    """The file of one of our modules."""
    stem = "/".join(module.split(".")[1:])
    return next((file for file in (f"{stem}.py", f"{stem}/__init__.py") if file in _sources()), None)


def _floor_and_room(file: str) -> tuple[int, str] | None:
    """Where a file of the actors lives; the room with the longest name wins. None: outside, or nowhere."""
    found = [(floor, room) for floor, rooms in enumerate(ROOMS) for room in rooms if file.startswith(room)]
    return max(found, key=lambda each: len(each[1]), default=None)


def homeless(file: str, _tree: ast.Module) -> list[str]:
    """A file of the actors that is in no room."""
    if not file.startswith("actors/") or file == "actors/__init__.py" or _floor_and_room(file):
        return []
    return [f"{file} is in no room of the house (docs/architecture.md)"]


def wrong_rooms(file: str, tree: ast.Module) -> list[str]:
    """Imports from a room beside or above."""
    here = _floor_and_room(file)
    found = []
    for line, module in _imports(file, tree):
        inner = f"{'/'.join(module.split('.')[1:])}.py" if module.startswith("doorstep.actors.") else ""
        there = _floor_and_room(inner) or _floor_and_room(inner.removesuffix(".py") + "/")
        if here and there and there[1] != here[1] and there[0] >= here[0]:
            found.append(f"{file}:{line} imports {module}")
    return found


def environment_at_import(file: str, tree: ast.Module) -> list[str]:
    """Reads of the environment outside of functions: they would run when the module is imported.

    `os.environ.setdefault` is for libraries that do read it when they are imported, and is let pass.
    """
    found = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Attribute) and node.attr == "setdefault":
            continue
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
            found.append(f"{file}:{node.lineno} reads the environment")
        waiting.extend(ast.iter_child_nodes(node))
    return found


LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "complain"}
LOGS = {"logger", "_log", "_logger"}


def _log_lines(file: str, tree: ast.Module) -> Iterator[ast.Call]:
    """The calls that log something."""
    for node in ast.walk(tree):
        if (
            file.startswith(CORE)
            and isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LOG_METHODS
            and getattr(node.func.value, "attr", getattr(node.func.value, "id", "")) in LOGS
        ):
            yield node


def unsearchable_events(file: str, tree: ast.Module) -> list[str]:
    """Lines of the log whose event is no name in snake_case."""
    return [
        f"{file}:{line.lineno} logs {line.args[0].value!r}"
        for line in _log_lines(file, tree)
        if isinstance(line.args[0], ast.Constant)
        and not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", str(line.args[0].value))
    ]


def untraceable_records(file: str, tree: ast.Module) -> list[str]:
    """Lines of the log about one record, which say where it stands, but not its correlation id."""
    return [
        f"{file}:{line.lineno} logs a source without a correlation_id"
        for line in _log_lines(file, tree)
        if {keyword.arg for keyword in line.keywords} & {"source", "correlation_id"} == {"source"}
    ]


Rule = Callable[[str, ast.Module], list[str]]
RULES: tuple[Rule, ...] = (
    wrong_directions,
    bare_imports,
    misplaced_libraries,
    impurities,
    homeless,
    wrong_rooms,
    environment_at_import,
    unsearchable_events,
    untraceable_records,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep(rule: Rule) -> None:
    broken = [complaint for file, tree in _sources().items() for complaint in rule(file, tree)]
    assert broken == []


_PURE = '"""Decides. Pure."""\n'


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("config/x.py", "import doorstep.gateway.cursor", "wrong_directions"),
        ("config/x.py", "def f():\n    from doorstep import actors", "wrong_directions"),
        ("gateway/x.py", "from doorstep.actors.holding.inbox import Inbox", "wrong_directions"),
        ("gateway/x.py", "from ..actors.holding import inbox", "wrong_directions"),
        ("actors/store/x.py", "from ...demo import app", "wrong_directions"),
        ("actors/control/x.py", "from doorstep.benchmarks import load", "wrong_directions"),
        ("actors/control/x.py", "from doorstep.development.ports import free_port", "wrong_directions"),
        ("benchmarks/x.py", "import doorstep.demo", "wrong_directions"),
        ("demo/x.py", "import config", "bare_imports"),
        ("demo/x.py", "from actors.holding.inbox import Inbox", "bare_imports"),
        ("actors/holding/holder.py", "import ray", "misplaced_libraries"),
        ("actors/commands/x.py", "import ray", "misplaced_libraries"),
        ("gateway/x.py", "from ray.util import list_named_actors", "misplaced_libraries"),
        ("actors/consuming/x.py", "from aiokafka import AIOKafkaConsumer", "misplaced_libraries"),
        ("actors/consuming/x.py", "from confluent_kafka import Consumer", "misplaced_libraries"),
        ("actors/store/log.py", "import hiredis", "misplaced_libraries"),
        ("actors/holding/x.py", _PURE + "import asyncio", "impurities"),
        ("actors/holding/x.py", _PURE + "from doorstep.actors.store.log import Log", "impurities"),
        ("gateway/x.py", _PURE + "from time import monotonic", "impurities"),
        ("demo/x.py", _PURE + "from doorstep.demo.identity import Identity", "impurities"),
        ("benchmarks/x.py", _PURE + "from doorstep.benchmarks.costs import CostMeter", "impurities"),
        ("gateway/x.py", _PURE + "import datetime\nNOW = datetime.datetime.now()", "impurities"),
        ("actors/x.py", "", "homeless"),
        ("actors/somewhere/x.py", "", "homeless"),
        ("actors/consuming/x.py", "from doorstep.actors.holding.inbox import Inbox", "wrong_rooms"),
        ("actors/holding/x.py", "import doorstep.actors.consuming.decode", "wrong_rooms"),
        ("actors/kafka/x.py", "from doorstep.actors.consuming import decode", "wrong_rooms"),
        ("actors/store/redis/x.py", "from doorstep.actors.store.log import Log", "wrong_rooms"),
        ("actors/records.py", "from doorstep.actors.placement.slots import SLOTS", "wrong_rooms"),
        ("actors/holding/x.py", "logger.warning('the feed was lost')", "unsearchable_events"),
        ("gateway/x.py", "self._log.complain('port.refused', code)", "unsearchable_events"),
        ("actors/consuming/x.py", "logger.warning('parked', source=source)", "untraceable_records"),
        ("gateway/x.py", "import os\nHOST = os.environ['HOST']", "environment_at_import"),
        ("gateway/x.py", "import os\nclass A:\n    host = os.getenv('HOST')", "environment_at_import"),
    ],
)
def test_rules_notice(file: str, source: str, expected: str) -> None:
    tree = ast.parse(source)
    assert [rule.__name__ for rule in RULES if rule(file, tree)] == [expected]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("actors/control/x.py", "from doorstep.gateway.cursor import Cursor\nimport asyncio, ray"),
        ("actors/store/redis/x.py", "import hiredis\nfrom ...records import Partition"),
        ("actors/consuming/x.py", "from . import decode\nfrom doorstep.actors.store.log import Log"),
        ("actors/holding/x.py", _PURE + "from doorstep.actors.store.values import Page"),
        ("demo/x.py", "import ray, aiokafka, redis\nfrom doorstep.actors.control import cluster"),
        ("actors/runtime/x.py", "import os\ndef f():\n    return os.environ"),
        ("actors/runtime/x.py", "logger.warning('feed_lost', slot=3)"),
        ("actors/consuming/x.py", "logger.warning('parked', source=a, correlation_id=b)"),
        ("actors/runtime/x.py", "import os\nos.environ.setdefault('RAY_QUIET', '1')"),
    ],
)
def test_rules_allow(file: str, source: str) -> None:
    tree = ast.parse(source)
    assert [complaint for rule in RULES for complaint in rule(file, tree)] == []


def test_every_room_exists_and_is_installed() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent.as_posix() for file in (ROOT / "actors").rglob("*.py")}
    here = {f"doorstep.{'.'.join(Path(folder).relative_to(ROOT).parts)}" for folder in folders}
    assert {package for package in packages if package.startswith("doorstep.actors")} == here
    assert {room for rooms in ROOMS for room in rooms if not (ROOT / room).exists()} == set()


def test_packages_are_typed_and_doorstep_is_a_namespace() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in MAY_IMPORT)
    assert all((ROOT / package / "__init__.py").exists() for package in MAY_IMPORT)
    assert not (ROOT / "doorstep").exists()
