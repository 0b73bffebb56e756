from collections import Counter

import pytest

from doorstep.benchmarks.arrivals import Arrivals
from doorstep.benchmarks.schedule import TICK_NS, make_schedule

NS_PER_S = 1_000_000_000


def test_the_same_arrivals_are_the_same_schedule() -> None:
    arrivals = Arrivals(5_000, 2_500, users=40, hot_share=0.1, seed=7)

    assert make_schedule(arrivals) == make_schedule(arrivals)
    assert make_schedule(arrivals).users != make_schedule(Arrivals(5_000, 2_500, 40, 1, 0.1, 8)).users


@pytest.mark.parametrize("rate", [1, 333, 2_000, 5_000, 30_000])
def test_events_are_spread_evenly_over_whole_ticks(rate: int) -> None:
    offsets = make_schedule(Arrivals(count=rate * 2, rate=rate, users=5)).offsets_ns

    assert all(offset % TICK_NS == 0 for offset in offsets)
    assert list(offsets) == sorted(offsets)
    assert offsets[0] == 0
    assert all(abs(offset - number * NS_PER_S / rate) <= TICK_NS for number, offset in enumerate(offsets))


def test_without_a_rate_all_is_due_at_once() -> None:
    assert set(make_schedule(Arrivals(count=50, rate=0, users=5)).offsets_ns) == {0}


def test_bursts_come_at_the_rate_of_the_whole() -> None:
    offsets = make_schedule(Arrivals(count=600, rate=200, users=5, burst=200)).offsets_ns

    assert Counter(offsets) == {0: 200, NS_PER_S: 200, 2 * NS_PER_S: 200}


def test_everybody_gets_the_same_number() -> None:
    users = make_schedule(Arrivals(count=300, rate=0, users=100)).users

    assert set(Counter(users).values()) == {3}
    assert list(users[:100]) != list(users[100:200])


def test_a_hot_user_gets_her_share_and_the_others_follow_zipf() -> None:
    counts = Counter(make_schedule(Arrivals(count=100_000, rate=0, users=1000, hot_share=0.1)).users)

    assert counts[0] == pytest.approx(10_000, rel=0.05)
    assert counts[1] == pytest.approx(2 * counts[3], rel=0.1)
