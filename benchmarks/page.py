"""The report as one HTML page that needs nothing else: verdict, figures, plots, environment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from doorstep.benchmarks.labels import OURS, REDIS
from doorstep.benchmarks.plots import COLOURS, Axis, Line, line_plot, percentile_plot, stacked_bars
from doorstep.benchmarks.results import LoadResult, Outcome, Report, Run
from doorstep.benchmarks.scenario import Scenario
from doorstep.benchmarks.summary import Figure, Key, figures_of, unit_of
from doorstep.benchmarks.verdict import verdict_of

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: CanvasText; background: Canvas; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9em; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8885; }
td { vertical-align: top; font-variant-numeric: tabular-nums; }
.ok { color: #2da44e; } .missed { color: #e5534b; font-weight: bold; } .unknown { color: #bf8700; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; flex: 1 1 26rem; }
figcaption { font-weight: 600; } svg { max-width: 100%; height: auto; } small { opacity: .7; }
"""
_KAFKORAMA_US = 24.0


def render(report: Report) -> str:
    """The whole page."""
    body = "\n".join(
        (
            f"<h1>Doorstep benchmark: {verdict_of(report.outcomes).name.lower()}</h1>",
            f"<p>{escape(report.started)}, suite {report.suite.value}, commit "
            f"{escape(report.environment.commit)}</p>",
            _outcomes(report.outcomes),
            *(_scenario(scenario, report) for scenario in report.scenarios),
            _memory(report),
            _yardsticks(report),
            _environment(report),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Doorstep benchmark</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _outcomes(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (
            escape(outcome.scenario),
            escape(outcome.load or ""),
            escape(outcome.claim) + ("" if outcome.required else " <small>(goal)</small>"),
            _number(outcome.measured, outcome.unit),
            _number(outcome.limit, outcome.unit),
            _mark(outcome),
            escape(outcome.note),
        )
        for outcome in outcomes
    ]
    return _table(("scenario", "load", "claim", "measured", "limit", "", "note"), rows)


def _mark(outcome: Outcome) -> str:
    if outcome.holds is None:
        return '<span class="unknown">?</span>'
    return '<span class="ok">ok</span>' if outcome.holds else '<span class="missed">missed</span>'


def _scenario(scenario: Scenario, report: Report) -> str:
    runs = [run for run in report.runs if run.scenario == scenario.name]
    if not runs:
        return ""
    return (
        f"<h2>{escape(scenario.name)}</h2><p>{escape(scenario.about)}</p>"
        f"{_figures(runs)}{_generators(runs)}<div class='plots'>{''.join(_plots(scenario, runs))}</div>"
    )


def _figures(runs: Sequence[Run]) -> str:
    """One row for each figure, one column for each target: the median, and the spread over the rounds."""
    figures = figures_of(runs)
    targets = sorted({key.target for key in figures}, key=list(COLOURS).index)
    rows = []
    for load, metric in dict.fromkeys((key.load, key.metric) for key in figures):
        cells = [_cell(figures, Key(target, runs[0].scenario, load, metric)) for target in targets]
        rows.append((escape(load or "connecting"), f"{metric}", *cells))
    return _table(("", "", *targets), rows)


def _cell(figures: Mapping[Key, Figure], key: Key) -> str:
    figure = figures.get(key)
    if figure is None:
        return ""
    spread = f" <small>±{figure.spread / 2:,.3g}</small>" if len(figure.values) > 1 else ""
    return _number(figure.median, unit_of(key.metric)) + spread


def _generators(runs: Sequence[Run]) -> str:
    """What the generator says about itself, at its worst."""
    loads = [load.generator for run in runs for load in run.loads]
    if not loads:
        return ""
    costs = sorted(health.swarm_us for health in loads)
    busiest = max(health.swarm_busiest for health in loads)
    lag_ms = max(health.producer_lag_p99_ms for health in loads)
    return (
        f"<p><small>generator: clients {costs[0]:.1f}-{costs[-1]:.1f} µs of CPU a notification, in their"
        f" busiest second {busiest:.0%} of a core; producer at most {lag_ms:.1f} ms late (p99)</small></p>"
    )


def _plots(scenario: Scenario, runs: Sequence[Run]) -> Iterator[str]:
    loads = [(run, load) for run in runs for load in run.loads]
    steady = [(run, load) for run, load in loads if load.kind == "steady" and run.round == 0]
    if scenario.stop_when_saturated:
        yield _plot("throughput against load", _throughput(steady))
        yield _plot("latency against load", _latency_by_load(steady))
    else:
        for name in dict.fromkeys(load.name for _, load in steady):
            these = [(run, load) for run, load in steady if load.name == name]
            yield _plot(f"latency by percentile, {name}", _percentiles(these))
            yield _plot(f"latency over time, {name}", _over_time(these))
    if loads:
        yield _plot("cost per notification", _costs(loads))


def _plot(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _percentiles(loads: Sequence[tuple[Run, LoadResult]]) -> str:
    return percentile_plot([_line(run, load.latency.curve) for run, load in loads])


def _over_time(loads: Sequence[tuple[Run, LoadResult]]) -> str:
    lines = []
    for run, load in loads:
        for label, read in _PER_SECOND:
            points = [(s.second, value) for s in load.seconds if (value := read(s)) is not None]
            lines.append(Line(f"{run.target} {label}", COLOURS[run.target], points, dashed=label == "p50"))
    return line_plot(lines, Axis("second"), Axis("latency, ms", "log"))


_PER_SECOND: Sequence[tuple[str, Callable[..., float | None]]] = (
    ("p50", lambda second: second.p50_ms),
    ("p99", lambda second: second.p99_ms),
)


def _throughput(loads: Sequence[tuple[Run, LoadResult]]) -> str:
    lines = [
        _line(run, [(load.offered_per_s, load.rate_per_s) for one, load in loads if one is run])
        for run in {id(run): run for run, _ in loads}.values()
    ]
    return line_plot(lines, Axis("events offered per second"), Axis("notifications per second"))


def _latency_by_load(loads: Sequence[tuple[Run, LoadResult]]) -> str:
    lines = [
        _line(run, [(load.offered_per_s, load.latency.p99_ms or 0) for one, load in loads if one is run])
        for run in {id(run): run for run, _ in loads}.values()
    ]
    return line_plot(lines, Axis("events offered per second"), Axis("p99, ms", "log"))


def _costs(loads: Sequence[tuple[Run, LoadResult]]) -> str:
    bars = {
        f"{run.target}, {load.name}": {
            name: 1e6 * seconds / max(1, load.exactness.delivered)
            for name, seconds in load.cpu_s.items()
            if name != "kafka" and seconds > 0
        }
        for run, load in loads
        if run.round == 0
    }
    return stacked_bars(bars, "CPU, µs")


def _line(run: Run, points: Sequence[tuple[float, float]]) -> Line:
    return Line(run.target, COLOURS[run.target], points)


def _memory(report: Report) -> str:
    points: dict[str, list[tuple[float, float]]] = {}
    for run in report.runs:
        grown_mb = run.connect.connection_kb * run.connect.live / 1024
        points.setdefault(run.target, []).append((run.connect.live, grown_mb))
    lines = [Line(target, COLOURS[target], sorted(found)) for target, found in points.items()]
    svg = line_plot(lines, Axis("connections", "log"), Axis("memory, MB", "log"))
    return f"<h2>Memory against connections</h2>{_plot('growth of the target while clients connect', svg)}"


def _yardsticks(report: Report) -> str:
    drains = [
        load for run in report.runs if run.target == OURS for load in run.loads if load.kind == "backlog"
    ]
    if not drains:
        return ""
    cheapest = min(drains, key=lambda load: load.cpu_us)
    redis_us = 1e6 * cheapest.cpu_s.get(REDIS, 0.0) / max(1, cheapest.exactness.delivered)
    without_us, floor_us = cheapest.cpu_us - redis_us, report.environment.socket_write_us
    return (
        "<h2>How near we are</h2>"
        f"<p>The least that a notification of a backlog cost here is {cheapest.cpu_us:.1f} µs of CPU, of"
        f" which {redis_us:.1f} µs are Redis. Without them it is {without_us / _KAFKORAMA_US:.1f} times a"
        " vendor's published figure (Kafkorama: 125,000 messages/s on 4 vCPU below 75 %, about"
        f" {_KAFKORAMA_US:g} µs, without Redis), and {without_us / floor_us:.1f} times the write of one"
        f" frame to a socket whose reader waits for it, {floor_us:.1f} µs on this machine.</p>"
    )


def _environment(report: Report) -> str:
    environment = report.environment
    rows = [
        ("cores", str(environment.cores)),
        ("CPU", escape(environment.cpu)),
        ("memory", f"{environment.memory_gb:g} GB"),
        ("kernel", escape(environment.kernel)),
        ("Python", escape(environment.python)),
        *((escape(name), escape(said)) for name, said in environment.versions.items()),
    ]
    for scenario in report.scenarios:
        rows += [
            (f"{scenario.name}: {escape(name)}", escape(value)) for name, value in scenario.settings.items()
        ]
    return f"<h2>Environment</h2>{_table(('', ''), rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.4g}&nbsp;{escape(unit)}"
