"""When each event of a load is due, and whose it is: fixed before the load starts, whatever happens then.

Arrivals do not wait for the server (an open loop), so a stall of the server counts in full for every event
that was due during it.
"""

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from doorstep.benchmarks.arrivals import Arrivals

TICK_NS = 1_000_000
"""Arrivals are due on whole ticks: a producer that wakes once a tick is never late by its own doing."""

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Entry i is the event number i: nanoseconds after the start, and index of the user."""

    offsets_ns: "array[int]"
    users: "array[int]"


def make_schedule(arrivals: Arrivals) -> Schedule:
    """The same `arrivals` give the same schedule, in every process."""
    return Schedule(_offsets(arrivals), _users(arrivals))


def _offsets(arrivals: Arrivals) -> "array[int]":
    if arrivals.rate == 0:
        return array("q", bytes(8 * arrivals.count))
    per_event = _NS_PER_S / arrivals.rate
    burst = arrivals.burst
    return array(
        "q",
        (int(i // burst * burst * per_event) // TICK_NS * TICK_NS for i in range(arrivals.count)),
    )


def _users(arrivals: Arrivals) -> "array[int]":
    picker = random.Random(arrivals.seed)  # noqa: S311 - a load has to be repeatable, not secret
    if arrivals.hot_share == 0:
        return array("L", islice(_evenly(arrivals.users, picker), arrivals.count))
    weights = _zipf_weights(arrivals.users, arrivals.hot_share)
    chosen = picker.choices(range(arrivals.users), cum_weights=weights, k=arrivals.count)
    return array("L", chosen)


def _evenly(users: int, picker: random.Random) -> Iterator[int]:
    """Every user once, in an order of its own each time, for ever."""
    order = list(range(users))
    while True:
        picker.shuffle(order)
        yield from order


def _zipf_weights(users: int, hot_share: float) -> list[float]:
    """Cumulative weights: the first user has `hot_share` of all, the others share the rest as 1/rank."""
    rest = [1 / rank for rank in range(2, users + 1)]
    scale = (1 - hot_share) / sum(rest)
    return list(accumulate([hot_share, *(weight * scale for weight in rest)]))
