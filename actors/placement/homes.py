"""Which cell is the home of a slot's users. Pure, and the same wherever the same cells are known.

A home is where a user costs least, and no more than that: any cell serves any user. So nothing but work
depends on who knows of which cells.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

import xxhash

from doorstep.actors.placement.slots import SLOTS, slot_of

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


def public_name(given: str, host: str) -> str:
    """What a node is called in public: the name that it was given, or else its host's, up to the first dot.

    In lower case. Raises `ValueError` for what can't be a part of a host's name.
    """
    name = (given or host.partition(".")[0]).lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be a part of a host's name: start Ray with --node-name")
    return name


def home_of(user_id: str, cells: Collection[str]) -> str | None:
    """The home of a user, among the cells of these names; None where there is no cell."""
    return _homes(frozenset(cells))[slot_of(user_id)] if cells else None


def slots_at(cell: str, cells: Collection[str]) -> frozenset[int]:
    """The slots whose home is this cell, which lives whether it is among the `cells` or not.

    One that comes takes 1/N of all slots, more or less, and no others move; one that goes gives back what it
    had, and no others move.
    """
    homes = _homes(frozenset({*cells, cell}))
    return frozenset(slot for slot in range(SLOTS) if homes[slot] == cell)


@lru_cache(maxsize=4)
def _homes(cells: frozenset[str]) -> Sequence[str]:
    """By slot, the cell that weighs most there (rendezvous hashing)."""
    return [max(cells, key=lambda cell: _weight(cell, slot)) for slot in range(SLOTS)]


def _weight(cell: str, slot: int) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{cell}/{slot}".encode()), cell
