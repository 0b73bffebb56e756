from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from doorstep.benchmarks.page import render
from doorstep.benchmarks.plots import Axis, Line, line_plot, percentile_plot, stacked_bars
from doorstep.benchmarks.results import Report
from tests.benchmarks.samples import a_load, a_report, a_run, a_scenario

pytestmark = pytest.mark.patient


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report() -> Report:
    loads = (a_load(), a_load("drain", kind="backlog"), a_load("missed", kind="missed"))
    runs = [
        a_run(*loads, target=target, number=number)
        for target in ("doorstep", "centrifugo")
        for number in (0, 1)
    ]
    return a_report(*runs, scenario=a_scenario("p99_ms <= 5", "cpu_us <= 1 * peer"))


def test_the_page_needs_nothing_else(report: Report) -> None:
    page = _Page(render(report))

    assert all(link.startswith("#") for link in page.links)
    assert "url(http" not in render(report)


def test_no_two_elements_have_the_same_id(report: Report) -> None:
    ids = _Page(render(report)).ids

    assert ids
    assert len(ids) == len(set(ids))


def test_it_shows_verdict_figures_of_both_and_environment(report: Report) -> None:
    text = _Page(render(report)).text

    for part in ("missed", "p99_ms <= 5", "centrifugo", "Valkey 9.1", "a CPU & <more>", "write of one frame"):
        assert part in text


def test_a_run_of_nothing_can_be_shown_too() -> None:
    assert "</html>" in render(a_report())


@pytest.mark.parametrize(
    "svg",
    [
        line_plot([Line("a", "#123456", [(1, 2), (2, 3)])], Axis("x"), Axis("y", "log")),
        percentile_plot([Line("a", "#123456", [(0.0, 1.0), (50.0, 2.0), (99.9, 7.0), (100.0, 8.0)])]),
        stacked_bars({"one": {"a": 1.0, "b": 2.0}, "two": {"b": 3.0}}, "µs"),
        line_plot([], Axis("x"), Axis("y")),
    ],
)
def test_plots_take_the_colour_of_the_page(svg: str) -> None:
    ElementTree.fromstring(svg)

    assert "currentColor" in svg
    assert "#000000" not in svg.replace('#000000"/>', "")
    assert "#ffffff" not in svg


def test_a_report_survives_json(report: Report) -> None:
    text = report.model_dump_json()

    assert Report.model_validate_json(text).model_dump_json() == text
