"""When a token's end is announced: once, and never so early that the announcement is the next one's cause."""

import asyncio
import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.holding.token_watch import TokenWatch, notice_before
from tests.support.waiting import PATIENCE_S


class Told:
    """Writes down what a watch tells."""

    def __init__(self) -> None:
        self.expiring: list[float] = []
        self.expired = 0
        self.over = asyncio.Event()
        self.answer: Callable[[], None] = lambda: None

    def on_token_expiring(self, in_s: float) -> None:
        self.expiring.append(in_s)
        self.answer()

    def on_token_expired(self) -> None:
        self.expired += 1
        self.over.set()


@given(left_s=st.floats(-1e9, 1e9), notice_s=st.floats(0, 1e6))
def test_the_notice_is_a_quarter_of_the_life_at_most(left_s: float, notice_s: float) -> None:
    before = notice_before(left_s, notice_s)
    assert 0 <= before <= notice_s
    assert before <= max(left_s, 0) / 4


async def test_one_notice_then_the_end() -> None:
    told = Told()
    watch = TokenWatch(0)
    watch.watch(told, time.time() + 2, notice_s=60)
    await asyncio.wait_for(told.over.wait(), PATIENCE_S)
    assert len(told.expiring) == 1
    assert 0 < told.expiring[0] <= 0.5
    assert told.expired == 1


async def test_without_a_notice_only_the_end_is_told() -> None:
    told = Told()
    TokenWatch(0).watch(told, time.time() + 0.05, notice_s=0)
    await asyncio.wait_for(told.over.wait(), PATIENCE_S)
    assert (told.expiring, told.expired) == ([], 1)


async def test_a_token_that_has_ended_is_told_at_once() -> None:
    told = Told()
    TokenWatch(0).watch(told, time.time() - 1, notice_s=60)
    assert (told.expiring, told.expired) == ([], 1)


async def test_a_newer_token_takes_the_place_of_the_last() -> None:
    told = Told()
    watch = TokenWatch(0)
    watch.watch(told, time.time() + 0.05, notice_s=60)
    watch.watch(told, time.time() + 3600, notice_s=60)
    await asyncio.sleep(0.2)
    assert (told.expiring, told.expired) == ([], 0)
    watch.stop()


async def test_a_page_that_answers_each_notice_with_a_short_token_starts_no_storm() -> None:
    """Each token lives 1 s, and is sent when the last one is announced: every 0.75 s."""
    told = Told()
    watch = TokenWatch(0)

    told.answer = lambda: watch.watch(told, time.time() + 1, notice_s=60)
    watch.watch(told, time.time() + 1, notice_s=60)
    await asyncio.sleep(3)
    watch.stop()
    assert told.expired == 0
    assert 1 <= len(told.expiring) <= 4
