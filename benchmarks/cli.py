"""`doorstep bench`: run the benchmarks, compare two runs, measure sizes."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from doorstep.actors.runtime.loading import loading

app = typer.Typer(invoke_without_command=True, help="Measure latency, delivery and cost under load.")

_ERROR = 2
_PLAIN_WIDTH = 160

# What each command needs is imported when it runs: every `doorstep` command loads this file.


@app.callback()
def bench(context: typer.Context) -> None:
    """Measure latency, delivery and cost under load; alone it is `bench run`."""
    if context.invoked_subcommand is None:
        context.invoke(run)


@app.command()
def run(
    *,
    smoke: Annotated[bool, typer.Option("--smoke", help="Every scenario, tiny: checks the suite.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Everything, repeated: takes 40 minutes.")] = False,
    guard: Annotated[bool, typer.Option("--guard", help="Cost against the naive way: for CI.")] = False,
    scenario: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    peer: Annotated[Path | None, typer.Option(help="Centrifugo's binary, to compare with.")] = None,
    peer_only: Annotated[bool, typer.Option("--peer-only", help="Leave Doorstep out.")] = False,
    naive: Annotated[bool, typer.Option("--naive", help="Compare with the naive way too.")] = False,
    kafka: Annotated[str | None, typer.Option(help="A scratch Kafka, host:port. Else: our own.")] = None,
    kafka_jars: Annotated[Path, typer.Option(help="Jars of our own Kafka.")] = Path("build/kafka"),
    redis: Annotated[str | None, typer.Option(help="A scratch Redis, redis://… Else: our own.")] = None,
    scenarios: Annotated[Path | None, typer.Option(help="A directory with scenarios of your own.")] = None,
    serve: Annotated[str | None, typer.Option(help="Run this in place of `doorstep serve`.")] = None,
    warm_up: Annotated[float, typer.Option(help="Seconds of load before anything is measured.")] = 3.0,
    out: Annotated[Path, typer.Option(help="Where report and logs go.")] = Path("build/bench"),
) -> None:
    """Run the benchmarks. Exit code: 0 all targets met, 1 one missed, 2 it failed, 3 no verdict."""
    with loading():
        from rich.console import Console  # noqa: PLC0415

        from doorstep.benchmarks.errors import BenchmarkError  # noqa: PLC0415
        from doorstep.benchmarks.program import Options, run_suite, show_verdict  # noqa: PLC0415
        from doorstep.benchmarks.scenario import SHIPPED, Suite  # noqa: PLC0415
        from doorstep.benchmarks.screen import Screen  # noqa: PLC0415
        from doorstep.development.processes import ServerError  # noqa: PLC0415

    chosen = ((smoke, Suite.SMOKE), (full, Suite.FULL), (guard, Suite.GUARD))
    suite = next((suite for is_chosen, suite in chosen if is_chosen), Suite.BENCH)
    options = Options(
        suite=suite,
        out=out.absolute(),
        kafka_jars=kafka_jars.absolute(),
        scenarios=scenario or (),
        peer=peer and peer.absolute(),
        ours=not peer_only,
        naive=naive or guard,
        kafka=kafka,
        redis=redis,
        directory=scenarios.absolute() if scenarios else SHIPPED,
        serve=shlex.split(serve or ""),
        warm_up_s=warm_up,
    )
    try:
        report = run_suite(options, Screen())
    except (BenchmarkError, ServerError) as error:
        typer.secho(f"{type(error).__name__}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(_ERROR) from None
    verdict = show_verdict(report, Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH))
    typer.echo(f"report: {options.out / 'report.html'}")
    raise typer.Exit(verdict)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="report.json of the earlier run.")],
    after: Annotated[Path, typer.Argument(help="report.json of the later run.")],
) -> None:
    """Name what got worse beyond noise from one run to another; exit code 1 if anything did."""
    with loading():
        from doorstep.benchmarks.comparison import compare as compare_reports  # noqa: PLC0415
        from doorstep.benchmarks.results import Report  # noqa: PLC0415
        from doorstep.benchmarks.summary import unit_of  # noqa: PLC0415

    reports = []
    for path in (before, after):
        try:
            reports.append(Report.model_validate_json(path.read_bytes()))
        except (OSError, ValueError) as error:
            typer.secho(f"{path} is no report of a benchmark: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(_ERROR) from None
    changes = compare_reports(*reports)
    for change in changes:
        if change.is_worse or change.is_better:
            word = "WORSE " if change.is_worse else "better"
            values = f"{change.before.median:,.4g} -> {change.after.median:,.4g} {unit_of(change.key.metric)}"
            typer.echo(f"{word}  {change.key}: {values}")
    worse = sum(change.is_worse for change in changes)
    typer.echo(f"{worse} of {len(changes)} figures got worse beyond noise")
    raise typer.Exit(1 if worse else 0)


@app.command()
def sizes() -> None:
    """Measure what docs/capacity.md counts with: memory in Redis, and what others' notifications cost."""
    with loading():
        from doorstep.benchmarks.sizes import Sizes, measure  # noqa: PLC0415

    for line in measure(Sizes()):
        typer.echo(line)
