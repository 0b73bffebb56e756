"""What `doorstep bench run` does, from its options to its exit code."""

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from doorstep.benchmarks.environment import read_environment
from doorstep.benchmarks.errors import SetupError
from doorstep.benchmarks.kafka import Kafka, given_kafka, start_kafka
from doorstep.benchmarks.results import Outcome, Report, Run
from doorstep.benchmarks.scenario import SHIPPED, Suite, load_scenarios
from doorstep.benchmarks.screen import Screen
from doorstep.benchmarks.suite import (
    KAFKA_WARM_UP_S,
    SHORT_WARM_UP_S,
    WARM_UP_S,
    Session,
    Stage,
    plan_sessions,
)
from doorstep.benchmarks.verdict import Verdict, judge, verdict_of

_JSON, _HTML = "report.json", "report.html"
_MARKS = {True: "[green]ok", False: "[red]MISSED", None: "[yellow]?"}


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    suite: Suite
    out: Path
    kafka_jars: Path
    scenarios: Sequence[str] = ()
    directory: Path = SHIPPED
    peer: Path | None = None
    naive: bool = False
    ours: bool = True
    kafka: str | None = None
    redis: str | None = None
    serve: Sequence[str] = ()
    """The command to run in place of `doorstep serve`."""
    warm_up_s: float = WARM_UP_S
    """How long each target is loaded before it is measured."""


def run_suite(options: Options, screen: Screen) -> Report:
    """Run it all; the report is in `options.out` afterwards, as JSON and as HTML.

    Raises `BenchmarkError` or `ServerError`; then there is no report, no earlier one either, and no
    process is left behind.
    """
    for name in (_JSON, _HTML):
        (options.out / name).unlink(missing_ok=True)
    scenarios = load_scenarios(options.directory, options.suite, options.scenarios)
    sessions = plan_sessions(scenarios, options.suite, _targets(options, screen))
    started = datetime.now(UTC)
    logs = options.out / "logs" / started.strftime("%Y%m%d-%H%M%S")
    with _ended_by_signals(), _kafka(options, screen) as kafka:
        stage = Stage(
            kafka,
            logs,
            screen,
            redis_url=options.redis,
            peer=options.peer,
            serve=options.serve,
            warm_up_s=SHORT_WARM_UP_S if options.suite is Suite.SMOKE else options.warm_up_s,
            kafka_warm_up_s=KAFKA_WARM_UP_S if _is_thorough(options) else 0,
        )
        runs = list(_perform_all(stage, sessions, screen))
    report = Report(
        suite=options.suite,
        started=started.isoformat(timespec="seconds"),
        environment=read_environment(stage.versions),
        scenarios=scenarios,
        runs=runs,
        outcomes=judge(scenarios, runs, timing=options.suite is not Suite.SMOKE),
    )
    _write(report, options.out)
    return report


def show_verdict(report: Report, console: Console) -> Verdict:
    """Print every outcome, and what they come to."""
    table = Table("scenario", "load", "claim", "measured", "limit", "", "note", box=None)
    for outcome in report.outcomes:
        table.add_row(*_row(outcome))
    console.print(table)
    verdict = verdict_of(report.outcomes)
    console.print(f"verdict: {verdict.name.lower()}", style="bold")
    return verdict


def _row(outcome: Outcome) -> Sequence[str]:
    mark = _MARKS[outcome.holds] if outcome.required else ("goal" if outcome.holds else "[dim]goal missed")
    shown = [
        "" if value is None else f"{value:,.4g} {outcome.unit}" for value in (outcome.measured, outcome.limit)
    ]
    return (outcome.scenario, outcome.load or "", outcome.claim, *shown, mark, outcome.note)


def _is_thorough(options: Options) -> bool:
    """Whether figures are wanted, and a shorter warm-up is not."""
    return options.suite in (Suite.BENCH, Suite.FULL) and options.warm_up_s >= WARM_UP_S


def _targets(options: Options, screen: Screen) -> Sequence[str]:
    if options.peer is None:
        screen.say("no peer to compare with: give the path of Centrifugo's binary by --peer")
    wanted = (("ours", options.ours), ("peer", options.peer is not None), ("naive", options.naive))
    return tuple(name for name, there in wanted if there)


def _perform_all(stage: Stage, sessions: Sequence[Session], screen: Screen) -> Iterator[Run]:
    for session in sessions:
        with closing(stage.perform(session)) as performance:
            for run in performance:
                screen.say(_line(run))
                yield run


def _line(run: Run) -> str:
    parts = [f"{run.target} {run.scenario} ({run.round + 1}): {run.connect.live:,} live"]
    for load in run.loads:
        delivered = f"{load.name}: {load.exactness.delivered:,} of {load.exactness.expected:,}"
        p99 = load.latency.p99_ms if load.kind == "steady" else None
        timing = f"p99 {p99:,.1f} ms" if p99 is not None else f"{load.rate_per_s:,.0f}/s"
        parts.append(f"{delivered}, {timing}, {load.cpu_us:,.0f} µs")
    return "  |  ".join(parts)


@contextmanager
def _kafka(options: Options, screen: Screen) -> Iterator[Kafka]:
    with ExitStack() as stack:
        if options.kafka:
            yield stack.enter_context(closing(given_kafka(options.kafka)))
            return
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorstep-bench-")))
        with screen.step("Kafka: starting"):
            kafka = start_kafka(options.kafka_jars, directory)
        yield stack.enter_context(closing(kafka))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the program like Ctrl-C does: by an exception, so that everything is cleaned up."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(report: Report, out: Path) -> None:
    from doorstep.benchmarks.page import render  # noqa: PLC0415 - needs matplotlib, which is slow to import

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _JSON).write_text(report.model_dump_json(indent=1))
        (out / _HTML).write_text(render(report))
    except OSError as error:
        raise SetupError(f"the report can't be written to {out}: {error}") from error
