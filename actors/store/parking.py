"""The index of all parked events: how many there are, and which have waited too long.

It is on one server, while the batches are everywhere. It is written before an event is parked and after one
was removed, so that a crash leaves too much in it, never too little.
"""

from collections.abc import Iterable, Sequence

from doorstep.actors.store.redis.calls import Call, Connection, Script, command

Spot = tuple[str, str]
"""Where an event is parked: its batch, and the identity of its record."""

NO_LIMIT = 1 << 53

_RESERVE = Script("reserve.lua")
_OVERDUE = Script("overdue.lua")
_SCAN_PAGE = 1000


class ParkingIndex:
    """Every method raises `StoreUnavailable`, and may be repeated."""

    def __init__(self, connection: Connection, ttl_s: int) -> None:
        self._connection = connection
        self._key = connection.keys.parking
        self._ttl_ms = ttl_s * 1000

    async def enter(self, spots: Sequence[Spot], limit: int) -> set[Spot]:
        """Enter spots while there are fewer than `limit`; returns those that are in, now or already."""
        if not spots:
            return set()
        call = _RESERVE.call([self._key], [limit, self._ttl_ms, *map(_member, spots)])
        entered = await self._connection.run_one(call)
        return {spot for spot, is_in in zip(spots, entered, strict=True) if is_in}

    async def leave(self, spots: Iterable[Spot]) -> None:
        """Remove spots."""
        await self._remove([_member(spot) for spot in spots])

    async def overdue(self, limit: int) -> Sequence[Spot]:
        """Up to `limit` spots that were entered longer than the time to live ago, by the server's clock."""
        return await self._spots(await self._connection.run_one(_OVERDUE.call([self._key], [limit])))

    async def oldest_s(self) -> float:
        """How long ago, by the server's clock, the oldest spot was entered; 0 when none is in."""
        first = command("ZRANGE", self._key, 0, 0, "WITHSCORES", foreign=())
        clock = Call(self._key, ("TIME",))
        oldest, (seconds, microseconds) = await self._connection.run([first, clock])
        now_ms = int(seconds) * 1000 + int(microseconds) / 1000
        age_ms: float = max([0.0, *(now_ms - deadline + self._ttl_ms for _, deadline in oldest)])
        return age_ms / 1000

    async def batches(self) -> set[str]:
        """The batches of all spots that are in for as long as this takes."""
        batches: set[str] = set()
        cursor = b"0"
        while True:
            scan = command("ZSCAN", self._key, cursor, "COUNT", _SCAN_PAGE, foreign=(b"0", ()))
            cursor, found = await self._connection.run_one(scan)
            batches |= {batch for batch, _ in await self._spots(found[::2])}
            if cursor == b"0":
                return batches

    async def total(self) -> int:
        """How many spots are in."""
        total: int = await self._connection.run_one(command("ZCARD", self._key, foreign=0))
        return total

    async def _spots(self, members: Sequence[bytes]) -> Sequence[Spot]:
        """What the members of the index say; those that say nothing are removed."""
        spots = {member: _spot(member) for member in members}
        await self._remove([member for member, spot in spots.items() if spot is None])
        return [spot for spot in spots.values() if spot is not None]

    async def _remove(self, members: Sequence[str | bytes]) -> None:
        if members:
            await self._connection.run_one(command("ZREM", self._key, *members, foreign=0))


def _member(spot: Spot) -> str:
    batch, identity = spot
    return f"{identity} {batch}"  # the names of topics have no spaces


def _spot(member: bytes) -> Spot | None:
    try:
        identity, space, batch = member.decode().partition(" ")
    except UnicodeDecodeError:
        return None
    return (batch, identity) if space else None
