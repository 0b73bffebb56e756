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
    return max(holders, key=lambda name: _weight(slot, name))


def ranked(slot: int, holders: Iterable[str]) -> list[str]:
    """The owner of a slot, then who would own it without that one, and so on."""
    return sorted(holders, key=lambda name: _weight(slot, name), reverse=True)


def _weight(slot: int, holder: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{holder}/{slot}".encode()), holder
