"""A breaker is open while something fails, and says since when."""

import time

import pytest

from doorstep.actors.runtime.breaker import Breaker


class RefusalError(Exception):
    """What the server of these tests says."""


def test_it_opens_at_the_first_failure_and_closes_at_the_first_success() -> None:
    changes: list[bool] = []
    breaker = Breaker("redis", changes.append)
    assert not breaker.is_open
    breaker.failure(RefusalError("not now"), "append")
    breaker.failure(RefusalError("still not"), "append")
    opened = breaker.status
    assert (opened.state, opened.reason) == ("open", "append: still not")
    breaker.success("append")
    closed = breaker.status
    assert (closed.state, closed.reason) == ("closed", None)
    assert changes == [True, False]


def test_it_stays_open_until_every_operation_works() -> None:
    breaker = Breaker("redis")
    breaker.failure(RefusalError(), "append")
    breaker.failure(RefusalError(), "watch")
    breaker.success("watch")
    assert breaker.is_open
    breaker.success("append")
    assert not breaker.is_open


def test_it_says_since_when() -> None:
    breaker = Breaker("kafka")
    breaker.failure(RefusalError())
    opened = breaker.status.since
    assert abs(opened - time.time()) < 5
    breaker.failure(RefusalError())
    assert breaker.status.since == opened


def test_the_pauses_grow_to_a_second_and_differ() -> None:
    breaker = Breaker("kafka")
    pauses = [breaker.failure(RefusalError()) for _ in range(40)]
    assert pauses[0] <= 0.05
    assert all(0 < pause <= 1 for pause in pauses)
    assert min(pauses[-10:]) >= 0.5
    assert len(set(pauses[-10:])) > 1
    breaker.success()
    assert breaker.failure(RefusalError()) <= 0.05


async def test_persist_tries_the_same_until_it_works() -> None:
    breaker = Breaker("redis")
    seen: list[str] = []

    async def attempt() -> str:
        seen.append("attempt")
        if len(seen) < 5:
            raise RefusalError("not now")
        return "done"

    async def before_retry() -> None:
        assert breaker.is_open
        seen.append("retry")

    assert await breaker.retry("append", attempt, RefusalError, before_retry) == "done"
    assert seen == ["attempt", "retry", "attempt", "retry", "attempt"]
    assert not breaker.is_open


async def test_persist_counts_what_comes_before_a_retry_as_a_try() -> None:
    breaker = Breaker("redis")
    tries = iter([RefusalError(), RefusalError(), None])

    async def fail_twice() -> None:
        if error := next(tries):
            raise error

    async def attempt() -> int:
        if not breaker.is_open:
            raise RefusalError
        return 7

    assert await breaker.retry("append", attempt, RefusalError, fail_twice) == 7


async def test_persist_lets_other_errors_through_and_leaves_nothing_open() -> None:
    breaker = Breaker("redis")
    outcomes = iter([RefusalError(), ValueError("a fault of ours")])

    async def attempt() -> None:
        raise next(outcomes)

    with pytest.raises(ValueError, match="a fault of ours"):
        await breaker.retry("append", attempt, RefusalError)
    assert not breaker.is_open
