"""What the test run itself does: strict about skips in CI, and a summary of parts, figures and coverage.

The summary comes before pytest's closing line, so that the closing line stays the last one.
"""

import contextlib
import os
import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import coverage
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.components import missing_parts, used
from tests.support.coverage_table import measured_table
from tests.support.order import is_patient
from tests.support.scheduler import scheduler_of

FigureRecorder = Callable[[str, str], None]
"""Takes the name of a figure, and its value with its unit."""

# How long an example takes is up to who else runs.
settings.register_profile("doorstep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("doorstep")

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
    """For a test that measures time, or does the same 100,000 times: what runs in it is not traced."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.stop()
    yield
    if measuring is not None:
        measuring.start()


def pytest_sessionstart() -> None:
    used["Python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def pytest_configure(config: pytest.Config) -> None:
    """Processes that run tests are measured, those that tests start are not: it would slow them down.

    And none gets a Ray by asking for one: Ray ends a process a minute after the end of such a Ray.
    """
    if is_patient():
        _give_way()
    # Those with the values of all variables hold the event loop up, by a tenth of a second each.
    structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if not config.getoption("numprocesses", None):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        measuring = coverage.Coverage.current()
        if measuring is not None:
            measuring.set_option("run:patch", [])  # what `start` would set it by, after `without_coverage`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Any:
    return scheduler_of(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests run in several processes (pytest-xdist), each of them tells what it has found."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["tables"] = (used, missing_parts, _figures)
        measuring = coverage.Coverage.current()
        if measuring is not None:
            measuring.stop()
            measuring.save()


def _give_way() -> None:
    """Have the lowest priority. Where Linux groups processes by session (autogroup), that of the session."""
    os.setsid()
    os.nice(19)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """And this is who is told."""
    told = getattr(node, "workeroutput", {})  # nothing, by one that was killed
    for table, found in zip((used, missing_parts, _figures), told.get("tables", ()), strict=False):
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
