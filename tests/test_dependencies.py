"""pyproject.toml names what the sources import, for each extra, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "": ("config", "gateway", "actors"),
    "traces": ("actors/runtime/open_telemetry.py",),
    "demo": ("demo", "development"),
    "bench": ("benchmarks",),
    "dev": ("tests",),
}
"""Extra -> the folders and single files that run with it; the empty one is `dependencies`."""

WITHOUT_IMPORT: Mapping[str, str] = {
    "cramjam": "aiokafka compresses and decompresses with it",
    "uvloop": "Ray runs asynchronous actors on it, where it is installed",
    "coverage": "",
    "msgpack-types": "stubs",
    "mypy": "",
    "pytest-asyncio": "a plugin",
    "pytest-timeout": "a plugin",
    "pytest-xdist": "a plugin",
    "ruff": "",
    "types-psutil": "stubs",
    "types-pyyaml": "stubs",
}
"""What is needed though none of the sources of its extra imports it, and why; empty: it is a command."""


def _named() -> Mapping[str, set[str]]:
    """Extra -> the distributions that it names itself, in lower case with dashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {_distribution(line) for line in lines} - {"doorstep"} for extra, lines in lists.items()}


def _included(extra: str) -> set[str]:
    """The extras that are installed with this one, itself and `dependencies` among them."""
    lists = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = {"", extra}
    for line in lists.get(extra, ()):
        if inner := re.fullmatch(r"doorstep\[(\w+)]", line):
            found |= _included(inner[1])
    return found


def _distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(source: str) -> Iterator[str]:
    """Top-level modules of others that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        tops = {name.partition(".")[0] for name in names}
        yield from tops - set(sys.stdlib_module_names) - {"doorstep", "tests"}


def _files_of(extra: str) -> set[Path]:
    """The sources that run with an extra; a single file of another one is not among them."""
    single = {ROOT / each for places in FOLDERS.values() for each in places if each.endswith(".py")}
    named = {ROOT / each for each in FOLDERS[extra]}
    return (named & single) | {file for folder in named for file in folder.rglob("*.py")} - single


def _imported_by(extra: str) -> list[set[str]]:
    """For each module that an extra's sources import, the distributions that bring it: one, or those of a
    namespace."""
    known = packages_distributions()
    modules = {module for file in _files_of(extra) for module in imported(file.read_text())}
    return [set(map(_distribution, known.get(module, [module]))) for module in modules]


@pytest.mark.parametrize("extra", FOLDERS)
def test_whatever_is_imported_is_named(extra: str) -> None:
    allowed = {name for each in _included(extra) for name in _named()[each]}
    assert [brought for brought in _imported_by(extra) if not brought & allowed] == []


@pytest.mark.parametrize("extra", FOLDERS)
def test_whatever_is_named_is_imported(extra: str) -> None:
    assert _named()[extra].difference(WITHOUT_IMPORT, *_imported_by(extra)) == set()


def test_no_exception_is_out_of_date() -> None:
    named = {name for names in _named().values() for name in names}
    assert set(WITHOUT_IMPORT) - named == set()


def test_imports_are_found_wherever_they_are() -> None:
    source = (
        "import os, ray.util\ndef f():\n    from aiohttp import web\nfrom . import x\nimport doorstep.config"
    )
    assert set(imported(source)) == {"ray", "aiohttp"}


@pytest.mark.parametrize("lock", ["runtime", "traces", "demo", "dev"])
def test_the_lock_has_whatever_is_named(lock: str) -> None:
    extra = {"runtime": ""}.get(lock, lock)
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    locked = {_distribution(line) for line in text.splitlines() if re.match(r"[\w.-]+==", line)}
    assert {name for each in _included(extra) for name in _named()[each]} - locked == set()
    assert "://" not in text
