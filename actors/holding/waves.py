"""How many are sent off in small groups, so that they do not come back all at once. Pure."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

_PER_S = 10
_PER_WAVE = 100
"""No more than a thousand reconnects a second, where there is time for that."""

T = TypeVar("T")


def waves(everyone: Sequence[T], within_s: float) -> Iterator[Sequence[T]]:
    """All of them in groups of a hundred, for one each tenth of a second; in larger ones where those would
    take longer than `within_s`."""
    most = max(int(within_s * _PER_S), 1)
    size = max(_PER_WAVE, math.ceil(len(everyone) / most))
    for start in range(0, len(everyone), size):
        yield everyone[start : start + size]


def spread(everyone: Sequence[T], over_s: float) -> tuple[list[Sequence[T]], float]:
    """All of them in groups of about the same size, as evenly over the whole time as can be; and the seconds
    from one group to the next, a tenth of one at least."""
    number = max(min(len(everyone), int(over_s * _PER_S)), 1)
    ends = [len(everyone) * each // number for each in range(number + 1)]
    groups = [everyone[start:end] for start, end in itertools.pairwise(ends)]
    return groups, max(over_s / number, 1 / _PER_S)
