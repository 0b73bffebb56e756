"""Which slot a user is in, and which holder owns a slot. Pure, and the same on every machine."""

from collections.abc import Iterable

import xxhash

SLOTS = 256


def slot_of(user_id: str) -> int:
    """The slot of a user, 0 to 255."""
    return xxhash.xxh3_64_intdigest(user_id.encode()) % SLOTS


def owner_of(slot: int, holders: Iterable[str]) -> str:
    """The holder that owns a slot, by rendezvous hashing: of N holders, one that comes or goes moves 1/N.

    Raises `ValueError` when there is no holder.
    """
    return max(holders, key=lambda name: (xxhash.xxh3_64_intdigest(f"{name}/{slot}".encode()), name))
