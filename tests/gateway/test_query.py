"""What the queries of sockets and polls say."""

import pytest

from doorstep.gateway.cursor import Cursor
from doorstep.gateway.head import HeadError
from doorstep.gateway.poll import PollRequest
from doorstep.gateway.query import SocketRequest, fields_of

START = Cursor(0, "5" * 16)


def poll(query: str) -> PollRequest:
    return PollRequest.parse(query)


def socket(query: str) -> SocketRequest:
    return SocketRequest.parse(query, 1000)


def test_defaults() -> None:
    assert poll("") == PollRequest(after=None, limit=100, wait=0)
    assert socket("") == SocketRequest(cursor=None, replay=0)


def test_an_empty_cursor_is_none() -> None:
    assert poll("after=").after is None
    assert socket("cursor=").cursor is None


def test_a_cursor() -> None:
    assert poll(f"after={START}").after == START
    assert socket(f"cursor={START}").cursor == START


@pytest.mark.parametrize("text", ["42", "42-xyz", "-1-0000000000000000", "1-0000000000000000x"])
def test_what_is_no_cursor_is_said_to_be_none(text: str) -> None:
    assert poll(f"after={text}").after == "malformed"
    assert socket(f"cursor={text}").cursor == "malformed"


@pytest.mark.parametrize(
    ("query", "limit", "wait"),
    [
        ("limit=0&wait=31", 1, 30),
        ("limit=1001&wait=0.5", 1000, 0.5),
        ("limit=7&wait=25", 7, 25),
        ("limit=" + "9" * 400, 1000, 0),
    ],
)
def test_numbers_are_clamped(query: str, limit: int, wait: float) -> None:
    assert (poll(query).limit, poll(query).wait) == (limit, wait)


@pytest.mark.parametrize("number", ["", "x", "-1", "1e9", "nan", "inf", ".", "1.1.1", "%D9%A1", "0x10"])
def test_what_is_no_number_is_refused(number: str) -> None:
    for read in (
        lambda: poll(f"limit={number}"),
        lambda: poll(f"wait={number}"),
        lambda: socket(f"replay={number}"),
    ):
        with pytest.raises(HeadError) as caught:
            read()
        assert (caught.value.status, caught.value.code) == (400, "malformed_query")


def test_replay_is_clamped() -> None:
    assert socket("replay=5000").replay == 1000


def test_the_first_of_a_repeated_name_counts() -> None:
    assert fields_of("a=1&a=2&b=x%20y&c") == {"a": "1", "b": "x y", "c": ""}


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(HeadError) as caught:
        fields_of("&".join(["a=1"] * 51))
    assert (caught.value.status, caught.value.code) == (400, "malformed_query")
