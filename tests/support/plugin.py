"""What the test run itself does: strict about skips in CI, and a summary of parts, figures and coverage.

The summary comes before pytest's closing line, so that the closing line stays the last one.
"""

import os
import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import coverage
import pytest

from tests.support.components import missing_parts, used
from tests.support.coverage_table import measured_table

FigureRecorder = Callable[[str, str], None]
"""Takes the name of a figure, and its value with its unit."""

_figures: dict[str, str] = {}


@pytest.fixture(scope="session")
def record_figure() -> FigureRecorder:
    """Call it with a name and a value with its unit: both are printed when the run ends."""
    return _figures.__setitem__


@pytest.fixture(scope="session")
def record_component() -> FigureRecorder:
    """Call it with name and version of a real component the test runs on: printed when the run ends."""
    return used.__setitem__


@pytest.fixture
def without_coverage() -> Iterator[None]:
    """For a test that measures time: what runs in it is not traced."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.stop()
    yield
    if measuring is not None:
        measuring.start()


def pytest_sessionstart() -> None:
    used["Python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def pytest_configure(config: pytest.Config) -> None:
    """Processes that run tests are measured, those that tests start are not: it would slow them down."""
    if not config.getoption("numprocesses", None):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests run in several processes (pytest-xdist), each of them tells what it has found."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["tables"] = (used, missing_parts, _figures)
        measuring = coverage.Coverage.current()
        if measuring is not None:
            measuring.stop()
            measuring.save()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """And this is who is told."""
    for table, found in zip((used, missing_parts, _figures), node.workeroutput["tables"], strict=True):
        table.update(found)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip_in_ci(report)
    return report


def _refuse_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\nNothing may be skipped where CI=true."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _print_table(terminalreporter, "real components used", used)
    _print_table(terminalreporter, "MISSING components: their tests did not run", missing_parts)
    _print_table(terminalreporter, "figures of this run", _figures)
    table = list(measured_table())
    if table:
        terminalreporter.section("branch coverage")
        for line in table:
            terminalreporter.write_line(line)


def _print_table(reporter: pytest.TerminalReporter, title: str, rows: Mapping[str, str]) -> None:
    if not rows:
        return
    reporter.section(title)
    width = max(len(name) for name in rows)
    for name, value in sorted(rows.items()):
        reporter.write_line(f"{name:{width}}  {value}")
