"""Every line of a log is one JSON object, and a complaint that repeats is told a few times."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from doorstep.actors.runtime.logging import Output, Repeats, configure_logs
from doorstep.config.settings import Settings


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What a process logs, until its logs are set up anew."""
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    configure_logs(Settings(), "holder-0", stream)
    yield stream
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_says_who_and_how_bad(out: io.StringIO) -> None:
    structlog.get_logger().warning("feed_lost", slot=3)
    assert [{**line, "timestamp": ""} for line in lines(out)] == [
        {"actor": "holder-0", "event": "feed_lost", "level": "warning", "slot": 3, "timestamp": ""}
    ]


def test_an_exception_is_within_its_line(out: io.StringIO) -> None:
    try:
        raise RuntimeError("line one\nline two")
    except RuntimeError:
        structlog.get_logger().exception("it_failed")
        logging.getLogger("aiokafka").exception("it failed, too")
    own, library = lines(out)
    assert "line two" in own["exception"]
    assert "line two" in library["exception"]
    assert (library["event"], library["logger"]) == ("library_warning", "aiokafka")
    assert library["text"] == "it failed, too"


def test_what_libraries_print_and_warn_of_is_a_line(out: io.StringIO) -> None:
    print("half a ", end="", file=(output := Output("stdout")))
    print("line\nand more", file=output)
    warnings.warn("old", stacklevel=1)
    printed, more, warned = lines(out)
    assert (printed["event"], printed["text"], more["text"]) == ("printed", "half a line", "and more")
    assert "old" in warned["text"]


def test_a_complaint_is_told_five_times_and_then_counted(out: io.StringIO) -> None:
    for number in range(1000):
        structlog.get_logger().warning("feed_lost", number=number)
        logging.getLogger("aiokafka").warning("topic %d is gone", number)
        structlog.get_logger().info("connected")
    told = [line["event"] for line in lines(out)]
    assert [told.count(event) for event in ("feed_lost", "library_warning", "connected")] == [5, 5, 1000]


def test_each_code_of_a_complaint_is_a_kind_of_its_own(out: io.StringIO) -> None:
    for _ in range(1000):
        structlog.get_logger().warning("request_refused", code="token_expired")
        structlog.get_logger().warning("request_refused", code="origin_not_allowed")
    told = [line["code"] for line in lines(out)]
    assert [told.count(code) for code in ("token_expired", "origin_not_allowed")] == [5, 5]


@pytest.mark.parametrize("odd", ["\x1b[2J", "\x9b2J", "\r\nforged", "\u202e", "\x00"])
def test_what_a_client_sent_moves_no_cursor_and_begins_no_line(out: io.StringIO, odd: str) -> None:
    structlog.get_logger().warning("request_refused", origin=f"https://a.test{odd}")
    assert out.getvalue()[:-1].isascii()  # as JSON
    assert out.getvalue()[:-1].isprintable()
    people = io.StringIO()
    configure_logs(Settings(log_format="console"), "gateway", people)
    structlog.get_logger().warning("request_refused", origin=f"https://a.test{odd}")
    told = re.sub(r"\x1b\[[0-9;]*m", "", people.getvalue())  # the console's own colours
    assert told[:-1].isprintable()
    assert "https://a.test" in told


def test_a_traceback_for_people_has_lines(out: io.StringIO) -> None:
    configure_logs(Settings(log_format="console"), "gateway", out)
    try:
        raise RuntimeError("wrong\x1b[2J")
    except RuntimeError:
        structlog.get_logger().exception("it_failed")
    assert "\nRuntimeError: wrong\\x1b[2J\n" in out.getvalue()


def test_what_was_left_out_is_said_by_the_next_line_of_its_kind() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)
    assert [repeats.suppressed("a") for _ in range(8)] == [0, 0, 0, 0, 0, None, None, None]
    assert repeats.suppressed("b") == 0
    now = 10.0
    assert [repeats.suppressed("a") for _ in range(2)] == [3, 0]
    assert repeats.suppressed("b") == 0


def test_kinds_without_end_take_no_memory_without_end() -> None:
    repeats = Repeats()
    for number in range(10_000):
        repeats.suppressed(str(number))
    assert len(repeats._kinds) <= 1000
