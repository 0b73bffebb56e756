"""Which slot a user is in, and which holder of a cell owns a slot. Pure, and the same on every machine."""

from collections.abc import Sequence
from functools import cache

import xxhash

SLOTS = 256
MAX_HOLDERS = SLOTS
"""Of a cell: one more would own nothing."""


def slot_of(user_id: str) -> int:
    """The slot of a user, 0 to 255."""
    return xxhash.xxh3_64_intdigest(user_id.encode()) % SLOTS


@cache
def owners(holders: int) -> Sequence[int]:
    """By slot, the number of its owner among so many holders.

    Each owns as many as the others, or one more. Of N holders, one that comes takes 1/N of the slots, of the
    fullest in turn; one that goes gives them back to whoever had them. So as few slots move as can be.

    Raises `ValueError` for no holder, and for more than there are slots.
    """
    if not 1 <= holders <= MAX_HOLDERS:
        raise ValueError(f"a cell has 1 to {MAX_HOLDERS} holders, not {holders}")
    if holders == 1:
        return (0,) * SLOTS
    newest = holders - 1
    now = list(owners(newest))
    for _ in range(SLOTS // holders):
        fullest = max(range(newest), key=now.count)
        taken = max(
            (slot for slot in range(SLOTS) if now[slot] == fullest), key=lambda slot: _weight(slot, newest)
        )
        now[taken] = newest
    return tuple(now)


@cache
def ranked(slot: int, holders: int) -> Sequence[int]:
    """The owner of a slot, then who is to take its users without that one, and so on."""
    owner = owners(holders)[slot]
    others = (holder for holder in range(holders) if holder != owner)
    return (owner, *sorted(others, key=lambda holder: _weight(slot, holder), reverse=True))


def _weight(slot: int, holder: int) -> tuple[int, int]:
    return xxhash.xxh3_64_intdigest(f"{holder}/{slot}".encode()), slot
