"""The lines between the packages (docs/architecture.md), read from the sources themselves."""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "config": {"config"},
    "gateway": {"config", "gateway"},
    "actors": {"config", "gateway", "actors"},
    "demo": {"config", "gateway", "actors", "demo"},
    "benchmarks": {"config", "gateway", "actors", "benchmarks"},
}
"""The direction: config <- gateway <- actors <- demo, benchmarks."""

ONLY_IN: Mapping[str, tuple[str, ...]] = {
    "ray": ("actors/control/",),
    "aiokafka": ("actors/kafka/",),
    "confluent_kafka": ("actors/kafka/",),
    "redis": ("actors/store/redis/",),
    "hiredis": ("actors/store/redis/",),
    "aiohttp": ("gateway/",),
    "websockets": ("gateway/",),
}
"""Where the core may know a library. (The demo stands for other people's services: it is free.)"""

CORE = ("config/", "gateway/", "actors/")

PURE = (
    "config/contracts.py",
    "config/sources.py",
    "gateway/close_codes.py",
    "gateway/cursor.py",
    "gateway/head.py",
    "gateway/json_schema.py",
    "gateway/messages.py",
    "gateway/origin.py",
    "actors/consuming/decode.py",
    "actors/holding/inbox.py",
    "actors/consuming/offsets.py",
    "actors/placement/slots.py",
    "actors/placement/topology.py",
)
"""Decisions: testable without a server, a clock or a loop."""

IMPURE_LIBRARIES = {
    "asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time",
    "aiohttp", "aiokafka", "hiredis", "ray", "redis", "uvloop",
}  # fmt: skip


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


def impurities(file: str, tree: ast.Module) -> list[str]:
    """Imports of libraries that do I/O, or know the time, in a file of decisions."""
    return [
        f"{file}:{line} imports {module}"
        for line, module in _imports(file, tree)
        if file in PURE and module.split(".")[0] in IMPURE_LIBRARIES
    ]


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


Rule = Callable[[str, ast.Module], list[str]]
RULES: tuple[Rule, ...] = (
    wrong_directions,
    bare_imports,
    misplaced_libraries,
    impurities,
    environment_at_import,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep(rule: Rule) -> None:
    broken = [complaint for file, tree in _sources().items() for complaint in rule(file, tree)]
    assert broken == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("config/x.py", "import doorstep.gateway.cursor", "wrong_directions"),
        ("config/x.py", "def f():\n    from doorstep import actors", "wrong_directions"),
        ("gateway/x.py", "from doorstep.actors.holding.inbox import Inbox", "wrong_directions"),
        ("gateway/x.py", "from ..actors import inbox", "wrong_directions"),
        ("actors/store/x.py", "from ...demo import app", "wrong_directions"),
        ("actors/x.py", "from doorstep.benchmarks import load", "wrong_directions"),
        ("benchmarks/x.py", "import doorstep.demo", "wrong_directions"),
        ("demo/x.py", "import config", "bare_imports"),
        ("demo/x.py", "from actors.inbox import Inbox", "bare_imports"),
        ("actors/holding/holder.py", "import ray", "misplaced_libraries"),
        ("gateway/x.py", "from ray.util import list_named_actors", "misplaced_libraries"),
        ("actors/holding/holder.py", "from aiokafka import AIOKafkaConsumer", "misplaced_libraries"),
        ("actors/consuming/consumer.py", "import redis.asyncio", "misplaced_libraries"),
        ("actors/holding/inbox.py", "import asyncio", "impurities"),
        ("actors/consuming/decode.py", "from time import monotonic", "impurities"),
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
        ("actors/x.py", "from doorstep.gateway.cursor import Cursor\nfrom . import inbox\nimport asyncio"),
        ("actors/store/x.py", "import redis.asyncio\nfrom ..routing import slot_of"),
        ("demo/x.py", "import ray, aiokafka, redis\nfrom doorstep.actors import cluster"),
        ("actors/x.py", "import os\ndef f():\n    return os.environ"),
        ("actors/x.py", "import os\nos.environ.setdefault('RAY_QUIET', '1')"),
    ],
)
def test_rules_allow(file: str, source: str) -> None:
    tree = ast.parse(source)
    assert [complaint for rule in RULES for complaint in rule(file, tree)] == []


def test_files_named_in_the_rules_exist() -> None:
    named = {*PURE, *(file for files in ONLY_IN.values() for file in files)}
    assert {file for file in named if not (ROOT / file).exists()} == set()


def test_packages_are_typed_and_doorstep_is_a_namespace() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in MAY_IMPORT)
    assert all((ROOT / package / "__init__.py").exists() for package in MAY_IMPORT)
    assert not (ROOT / "doorstep").exists()
