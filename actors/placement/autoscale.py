"""How many cells a cluster is to have, by what they have to do. Pure."""

from dataclasses import dataclass
from math import ceil

_ROOM = 0.8
"""There may be fewer cells once they would be at four fifths of what they may bear, not sooner."""


@dataclass(frozen=True, slots=True)
class Load:
    """What all cells bear together."""

    connections: int
    cores: float
    """CPU of the holders, in seconds a second."""
    lag: int
    """Records that the consumers are behind."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many cells there may be, what one may bear, and how long a calm is: see `AutoscaleSettings`."""

    min_cells: int
    max_cells: int
    connections_per_cell: int
    cores_per_cell: float
    lag_per_cell: int
    calm_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """How many cells were asked for, and since when (in seconds) fewer would have done."""

    cells: int
    calm_since: float


def begin(cells: int, now: float, limits: Limits) -> Asked:
    """What to ask for first, where there are so many."""
    return Asked(min(max(cells, limits.min_cells), limits.max_cells), now)


def needed(load: Load, limits: Limits, room: float = 1.0) -> int:
    """The fewest cells that bear a load with so much of what each may bear, within the limits."""
    shares = (
        load.connections / limits.connections_per_cell,
        load.cores / limits.cores_per_cell,
        load.lag / limits.lag_per_cell,
    )
    return min(max(ceil(max(shares) / room), limits.min_cells), limits.max_cells)


def decide(asked: Asked, load: Load, now: float, limits: Limits) -> Asked:
    """What to ask for next: more at once; one fewer after each `calm_s` in which fewer would have done."""
    more = needed(load, limits)
    if more > asked.cells:
        return Asked(more, now)
    if asked.cells > limits.max_cells:
        return Asked(limits.max_cells, now)
    if needed(load, limits, _ROOM) >= asked.cells:
        return Asked(asked.cells, now)
    if now - asked.calm_since < limits.calm_s:
        return asked
    return Asked(asked.cells - 1, now)
