"""What a subscriber does with notifications that come together."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import pytest

from doorstep.actors.holding.holder import _writes
from doorstep.actors.holding.inbox import Step
from doorstep.actors.holding.registry import Kind
from doorstep.actors.holding.subscriber import News, Subscriber, news_of
from doorstep.actors.store.values import Page, Pushed
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.handover import Parcel


def _digest(seq: int) -> str:
    return f"{seq:016x}"


def _pushed(seq: int, size: int = 10) -> Pushed:
    return b"u", seq, _digest(seq - 1).encode(), _digest(seq).encode(), b"{" + b"x" * (size - 1)


class Home:
    """Counts who wants to read."""

    reads = 0

    def read_for(self, subscriber: Subscriber) -> None:
        self.reads += 1


class Device(Subscriber):
    """Notes what is delivered together."""

    kind: ClassVar[Kind] = "socket"

    def __init__(self, home: Any) -> None:
        super().__init__(home, "u", Cursor(0, _digest(0)))
        self.writes: list[list[int]] = []

    def begin(self, parcel: Parcel) -> None: ...

    def close(self, code: CloseCode, after_ms: int = 0) -> None: ...

    def _break_off(self) -> None: ...

    def _deliver(self, news: Sequence[News]) -> int:
        self.writes.append([each.seq for each in news])
        return len(news)

    def _tell(self, step: Step) -> None: ...


@pytest.mark.parametrize(
    ("state", "seqs", "written", "reads"),
    [
        ("live", [1, 2, 3], [[1, 2, 3]], 0),
        ("live", [1, 2, 4, 5], [[1, 2]], 1),
        ("live", [2, 3], [], 1),
        ("reading", [1, 2], [], 0),
        ("blocked", [1, 2], [], 0),
    ],
)
def test_what_follows_goes_out_together_and_the_rest_is_read(
    state: Literal["live", "reading", "blocked"], seqs: list[int], written: list[list[int]], reads: int
) -> None:
    home = Home()
    device = Device(home)
    if state != "reading":
        device.take(Page((), Cursor(0, _digest(0)), None, 0))
    if state == "blocked":
        device.inbox.block()
    assert device.push([news_of(_pushed(seq)) for seq in seqs]) == sum(map(len, written))
    assert (device.writes, home.reads) == (written, reads)


@pytest.mark.parametrize(
    ("sizes", "writes"),
    [
        ([10], [1]),
        ([10] * 500, [500]),
        ([30_000, 30_000, 30_000], [2, 1]),
        ([200_000, 10, 200_000], [1, 1, 1]),
    ],
)
def test_nobody_gets_much_more_at_once_than_there_is_room_for(sizes: list[int], writes: list[int]) -> None:
    run = [_pushed(seq, size) for seq, size in enumerate(sizes, 1)]
    together = list(_writes(run))
    assert [len(each) for each in together] == writes
    assert [push for each in together for push in each] == run
