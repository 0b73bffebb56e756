"""Branch coverage of each package, from what `coverage run` measured in all processes that ran tests."""

import importlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import coverage

_ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "gateway", "actors", "demo")


def measured_table() -> Iterator[str]:
    """Stop measuring and yield the lines of the table; nothing where the run is not under `coverage run`."""
    running = coverage.Coverage.current()
    if running is None:
        return
    for package in PACKAGES:  # what no test has imported counts as not covered
        importlib.import_module(f"doorstep.{package}")
    running.stop()
    running.save()
    yield f"{'package':10} {'lines':>13} {'branches':>13} {'covered':>8}"
    files = _report()
    for package in PACKAGES:
        yield _row(package, [summary for name, summary in files.items() if _package_of(name) == package])


def _report() -> Mapping[str, Mapping[str, int]]:
    """File -> its counts, over the data of all processes of the run."""
    combined = coverage.Coverage()
    combined.combine()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "coverage.json"
        combined.json_report(outfile=str(report), ignore_errors=True)
        files: dict[str, dict[str, Any]] = json.loads(report.read_text())["files"]
    return {name: file["summary"] for name, file in files.items()}


def _package_of(file: str) -> str:
    path = Path(file)
    return (path.relative_to(_ROOT) if path.is_absolute() else path).parts[0]


def _row(package: str, files: list[Mapping[str, int]]) -> str:
    def total(count: str) -> int:
        return sum(file[count] for file in files)

    lines, branches = total("num_statements"), total("num_branches")
    covered = total("covered_lines") + total("covered_branches")
    share = f"{100 * covered / (lines + branches):.1f}%" if lines else "-"
    return (
        f"{package:10} {total('covered_lines'):6}/{lines:6} "
        f"{total('covered_branches'):6}/{branches:6} {share:>8}"
    )
