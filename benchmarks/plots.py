"""Plots as SVG that goes into a page as it is, and takes the page's text colour, be it dark or light."""

import io
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doorstep.benchmarks.labels import NAIVE, OURS, PEER

Points = Sequence[tuple[float, float]]

COLOURS: Mapping[str, str] = {OURS: "#2f81f7", PEER: "#e8833a", NAIVE: "#8b949e"}
"""Of targets; to be seen on dark and on light ground."""

COMPONENT_COLOURS = ("#2f81f7", "#3fb27f", "#d2a8ff", "#e8833a", "#f778ba", "#8b949e", "#d29922")

_INK = "#010203"  # stands for the page's colour, which the SVG gets instead


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    label: str
    colour: str
    points: Points
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What is on an axis."""

    label: str
    scale: str = "linear"


def line_plot(lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Lines over each other, with a legend."""

    def draw(axes: Axes) -> None:
        for line in lines:
            style = "--" if line.dashed else "-"
            xs, ys = [point[0] for point in line.points], [point[1] for point in line.points]
            axes.plot(xs, ys, style, color=line.colour, label=line.label, marker=".", markersize=4)
        axes.set_xlabel(x.label)
        axes.set_ylabel(y.label)
        axes.set_xscale(x.scale)
        axes.set_yscale(y.scale)
        _legend(axes, len(lines))

    return _svg(draw)


def percentile_plot(lines: Sequence[Line]) -> str:
    """Latency in ms by percentile; the axis gives each further nine the same room."""
    percents = (50.0, 90.0, 99.0, 99.9, 99.99)

    def draw(axes: Axes) -> None:
        for line in lines:
            xs = [_nines(percent) for percent, _ in line.points if percent < 100]
            ys = [value for percent, value in line.points if percent < 100]
            axes.plot(xs, ys, color=line.colour, label=line.label, marker=".", markersize=4)
        axes.set_xscale("log")
        axes.set_xticks([_nines(percent) for percent in percents], [f"{percent:g} %" for percent in percents])
        axes.minorticks_off()
        axes.set_ylabel("latency, ms")
        axes.set_yscale("log")
        _legend(axes, len(lines))

    return _svg(draw)


def stacked_bars(bars: Mapping[str, Mapping[str, float]], y: str) -> str:
    """A bar for each key, its parts on top of each other."""
    parts = sorted({part for bar in bars.values() for part in bar})
    names = list(bars)

    def draw(axes: Axes) -> None:
        bottom = [0.0] * len(names)
        for index, part in enumerate(parts):
            heights = [bars[name].get(part, 0.0) for name in names]
            colour = COMPONENT_COLOURS[index % len(COMPONENT_COLOURS)]
            axes.bar(names, heights, bottom=bottom, label=part, color=colour, width=0.6)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        axes.set_ylabel(y)
        axes.tick_params(axis="x", labelrotation=20 if len(names) > 3 else 0)
        _legend(axes, len(parts))

    return _svg(draw)


def _nines(percent: float) -> float:
    return 1 / (1 - percent / 100)


def _legend(axes: Axes, count: int) -> None:
    if count:
        axes.legend(frameon=False, fontsize=8)


def _svg(draw: Callable[[Axes], None]) -> str:
    with _style():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return _own_ids(svg[svg.index("<svg") :].replace(_INK, "currentColor"))


def _own_ids(svg: str) -> str:
    """Ids that no other plot of the page has."""
    prefix = f"p{uuid.uuid4().hex[:8]}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "axes.edgecolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.color": _INK,
        }
    )
