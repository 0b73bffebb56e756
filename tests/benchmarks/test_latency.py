import math
import pickle
import random

import pytest

from doorstep.benchmarks.latency import Latencies, by_second

MS = 1_000_000


def test_percentiles_have_three_digits() -> None:
    durations = [random.Random(1).randrange(1, 5_000) * MS // 10 for _ in range(20_000)]
    latencies = Latencies.of_ns(durations)

    for percent in (1, 50, 90, 99, 99.9, 100):
        exact = sorted(durations)[math.ceil(percent / 100 * len(durations)) - 1] / MS
        (measured,) = latencies.percentiles_ms([percent])
        assert measured == pytest.approx(exact, rel=0.002)


def test_merging_is_the_same_as_measuring_together() -> None:
    one, other = [2 * MS] * 98, [700 * MS] * 2
    sent = [pickle.loads(pickle.dumps(Latencies.of_ns(part))) for part in (one, other)]

    merged = Latencies.merged(sent)

    assert merged.count == 100
    percents = [50, 98, 99, 100]
    assert merged.percentiles_ms(percents) == Latencies.of_ns(one + other).percentiles_ms(percents)


def test_nothing_has_no_percentiles() -> None:
    assert all(math.isnan(value) for value in Latencies.merged([]).percentiles_ms([50, 99]))
    assert Latencies.of_ns([]).count == 0


def test_what_is_beyond_the_scale_counts_as_its_end() -> None:
    (highest,) = Latencies.of_ns([10**15]).percentiles_ms([100])

    assert highest == pytest.approx(600_000, rel=0.01)


def test_events_belong_to_the_second_in_which_they_were_due() -> None:
    start = 5_000 * MS
    dues = [start, start + 999 * MS, start + 1000 * MS, start + 1001 * MS, start + 3500 * MS]

    seconds = by_second(start, dues, [1 * MS, 3 * MS, 5 * MS, 7 * MS, 900 * MS])

    assert {second: latencies.count for second, latencies in seconds.items()} == {0: 2, 1: 2, 3: 1}
    assert seconds[3].percentiles_ms([50])[0] == pytest.approx(900, rel=0.002)
