"""Which user a batch belongs to, and the events that wait until that is known.

Parking is durable: a parked event is acknowledged to Kafka, so it never expires by itself. Only `unpark`
removes it, after it was appended or dead-lettered.
"""

from collections.abc import Iterable, Mapping, Sequence

from doorstep.actors.records import StoredRecord, name_of
from doorstep.actors.store.packed_record import pack_record, unpack_record
from doorstep.actors.store.parking import NO_LIMIT, ParkingIndex, Spot
from doorstep.actors.store.redis.calls import Call, Connection, Script, command
from doorstep.actors.store.redis.link import Argument
from doorstep.actors.store.values import Canary, Parked, Parking, Registered
from doorstep.config.identifiers import identifier_fault
from doorstep.config.settings import ContextSettings

_REGISTER = Script("canary.lua", "register.lua")
_PARK = Script("canary.lua", "park.lua")
_PARKED = Script("parked.lua")
_UNPARK = Script("unpark.lua")
_FORGET = Script("forget.lua")
_CLAIM = Script("claim.lua")

_REGISTERED: Mapping[bytes, Registered] = {b"new": "new", b"same": "same"}


class Contexts:
    """Contexts and parked events of all batches.

    Every method raises `StoreUnavailable`, and may be repeated.
    """

    def __init__(self, connection: Connection, context: ContextSettings) -> None:
        self._connection = connection
        self._keys = connection.keys
        self._context = context
        self._index = ParkingIndex(connection, context.park_ttl_s)
        self.repairs = 0
        """Users and parked records that were nothing of ours, and were removed."""

    async def register(self, batch_id: str, user_id: str, canary: Canary | None = None) -> Registered:
        """Say whose batch it is. The first one said stays: another one changes nothing ("conflict").

        Raises `StoreLost` where the `canary` is not as it says, as far as the batch's server can tell.
        """
        checkpoints, seen = self._proof(canary)
        arguments = [user_id, self._context.ttl_s * 1000, *seen]
        call = _REGISTER.call([self._keys.context(batch_id), *checkpoints], arguments)
        said = await self._connection.run_one(call)
        if isinstance(said, bytes):
            return _REGISTERED[said]
        (known,) = said
        if _user(known) is not None:
            return "conflict"
        await self._forget({batch_id: known})
        return await self.register(batch_id, user_id, canary)

    async def lookup(self, batch_ids: Iterable[str]) -> Mapping[str, str]:
        """The users of those batches whose user is known.

        Not for deciding where an event goes: earlier ones may still be parked. That is `resolve_or_park`.
        """
        batches = list(batch_ids)
        # MGET, because to a key of another type it says "nothing", where GET would fail
        replies = await self._connection.run(
            [command("MGET", self._keys.context(batch)) for batch in batches]
        )
        users = {batch: _user(found) for batch, (found,) in zip(batches, replies, strict=True)}
        return {batch: user for batch, user in users.items() if user is not None}

    async def resolve_or_park(
        self, waiting: Sequence[tuple[str, StoredRecord]], canary: Canary | None = None
    ) -> Sequence[str | Parking]:
        """For each (batch, record), in order: the user to append it to now, or what its parking came to.

        A user is returned only when no event of the batch is parked. A record that is parked already stays
        where it is. The events of one batch must be offered in their order, by one call at a time.
        Raises `StoreLost` like `register`.
        """
        batches: dict[str, list[StoredRecord]] = {}
        for batch, record in waiting:
            batches.setdefault(batch, []).append(record)
        users = await self._resolve(batches.keys(), canary)
        unknown = {batch: records for batch, records in batches.items() if batch not in users}
        fates = await self._park(unknown, canary)
        return [users.get(batch) or fates[batch, record.identity] for batch, record in waiting]

    async def parked(self, batch_id: str, limit: int) -> Sequence[Parked]:
        """The batch's first `limit` parked events, in the order they came."""
        return await self._read({batch_id: ["first", limit]})

    async def unpark(self, batch_id: str, identities: Sequence[str]) -> int:
        """Remove exactly these, after they were appended or dead-lettered; returns how many are left.

        Only at 0 may the offset of the batch's context be committed.
        """
        left: int = await self._connection.run_one(_UNPARK.call(self._keys.parked(batch_id), identities))
        await self._leave([(batch_id, identity) for identity in identities])
        return left

    async def expired(self, limit: int) -> Sequence[Parked]:
        """Some of the events that have waited longer than `context.park_ttl_s`, by Redis' clock.

        To be dead-lettered as `context_timeout` (or released, should their user be known by now), then
        unparked. At most `limit`; fewer, even none, does not mean that there are no more.
        """
        overdue = await self._index.overdue(limit)
        found = await self._read_all(overdue)
        await self._leave(set(overdue) - {(each.batch_id, each.record.identity) for each in found})
        return found

    async def oldest_parked_s(self) -> float:
        """How many seconds the oldest parked event has waited; 0 when none is parked."""
        return await self._index.oldest_s()

    async def orphans(self) -> Sequence[str]:
        """Batches whose user is known and that have parked events nevertheless: to be released.

        Left by a consumer that died between registration and release; or one is at it just now, which does
        no harm, because appending is idempotent.
        """
        known = await self.lookup(await self._index.batches())
        calls = [_PARKED.call(self._keys.parked(batch), ["first", 1]) for batch in known]
        return [batch for batch, some in zip(known, await self._connection.run(calls), strict=True) if some]

    async def total(self) -> int:
        """How many events are parked in all; after a crash too high until `expired` has tidied up."""
        return await self._index.total()

    async def claim_sweep(self, token: str, ttl_s: float) -> bool:
        """Become, or stay, the one sweeper for the next `ttl_s` seconds. Saves work; nothing relies on it."""
        return bool(
            await self._connection.run_one(_CLAIM.call([self._keys.sweeper], [token, int(ttl_s * 1000)]))
        )

    async def _resolve(self, batches: Iterable[str], canary: Canary | None) -> Mapping[str, str]:
        """The users of the batches that have one and nothing parked."""
        said = await self._offer(dict.fromkeys(batches, ()), canary)
        return {batch: user for batch, user in said.items() if isinstance(user, str)}

    async def _park(
        self, batches: Mapping[str, Sequence[StoredRecord]], canary: Canary | None
    ) -> Mapping[Spot, str | Parking]:
        """Enter the index first; then park, or find the user known by now; then leave what is not parked."""
        fates: dict[Spot, str | Parking] = {
            (batch, record.identity): Parking.FULL for batch, records in batches.items() for record in records
        }
        entered = await self._index.enter(list(fates), self._context.max_parked)
        allowed = {
            batch: some
            for batch, records in batches.items()
            if (some := [record for record in records if (batch, record.identity) in entered])
        }
        for batch, said in (await self._offer(allowed, canary)).items():
            records = allowed[batch]
            for record, fate in zip(records, _fates(said, len(records)), strict=True):
                fates[batch, record.identity] = fate
        parked = [spot for spot in entered if fates[spot] is Parking.PARKED]
        await self._index.enter(parked, NO_LIMIT)  # see `_leave`
        await self._leave(entered.difference(parked))
        return fates

    async def _offer(
        self, batches: Mapping[str, Sequence[StoredRecord]], canary: Canary | None
    ) -> Mapping[str, str | Sequence[int]]:
        """What `park.lua` says of each batch. A user that can't be one is nothing of ours, and forgotten."""
        replies = await self._connection.run([self._park_call(*each, canary) for each in batches.items()])
        said = dict(zip(batches, replies, strict=True))
        users = {batch: _user(reply) for batch, reply in said.items() if isinstance(reply, bytes)}
        foreign = {batch: said[batch] for batch, user in users.items() if user is None}
        said |= {batch: user for batch, user in users.items() if user is not None}
        if foreign:
            await self._forget(foreign)
            said |= await self._offer({batch: batches[batch] for batch in foreign}, canary)
        return said

    async def _forget(self, foreign: Mapping[str, bytes]) -> None:
        """Remove what is said to be the users of these batches, if that is still what is said."""
        self.repairs += len(foreign)
        await self._connection.run(
            [_FORGET.call([self._keys.context(batch)], [text]) for batch, text in foreign.items()]
        )

    async def _leave(self, spots: Iterable[Spot]) -> None:
        """Take out of the index what is no longer parked.

        A consumer that replays such an event may have parked it again after it was removed. It enters it once
        more after that, and here it is looked for once more: one of the two puts it back.
        """
        gone = list(spots)
        await self._index.leave(gone)
        again = [(each.batch_id, each.record.identity) for each in await self._read_all(gone)]
        await self._index.enter(again, NO_LIMIT)

    async def _read_all(self, spots: Iterable[Spot]) -> Sequence[Parked]:
        batches: dict[str, list[str]] = {}
        for batch, identity in spots:
            batches.setdefault(batch, []).append(identity)
        return await self._read({batch: ["these", *identities] for batch, identities in batches.items()})

    async def _read(self, batches: Mapping[str, Sequence[Argument]]) -> Sequence[Parked]:
        """Read parked events. Records that are nothing of ours are removed."""
        calls = [_PARKED.call(self._keys.parked(batch), which) for batch, which in batches.items()]
        found: list[Parked] = []
        for batch, reply in zip(batches, await self._connection.run(calls), strict=True):
            pairs = zip(reply[::2], reply[1::2], strict=True)
            records = {name: unpack_record(packed) for name, packed in pairs}
            ours = {name: each for name, each in records.items() if each and each.identity.encode() == name}
            found += [Parked(batch, record) for record in ours.values()]
            if foreign := [name for name in records if name not in ours]:
                self.repairs += len(foreign)
                await self._connection.run_one(_UNPARK.call(self._keys.parked(batch), foreign))
        return found

    def _park_call(self, batch: str, records: Sequence[StoredRecord], canary: Canary | None) -> Call:
        checkpoints, seen = self._proof(canary)
        arguments: list[Argument] = [*seen, self._context.max_parked_per_batch]
        for record in records:
            arguments += (record.identity, pack_record(record))
        return _PARK.call([self._keys.context(batch), *self._keys.parked(batch), *checkpoints], arguments)

    def _proof(self, canary: Canary | None) -> tuple[Sequence[str], Sequence[Argument]]:
        """The key of the checkpoints that the canary is among, and how it is told to a script.

        In a Cluster a script about a batch can't see it: there it has to do that the caller has just looked.
        """
        if canary is None or self._connection.sharded:
            return (), ("", 0)
        return [self._keys.checkpoints(0, canary.group)], (name_of(canary.partition), canary.checkpoint)


def _user(found: bytes | None) -> str | None:
    """The user that a batch's key names; None if it names none."""
    try:
        user = (found or b"").decode()
    except UnicodeDecodeError:
        return None
    return user if identifier_fault(user) is None else None


def _fates(said: str | Sequence[int], count: int) -> Sequence[str | Parking]:
    if isinstance(said, str):
        return [said] * count
    return [Parking.PARKED if is_in else Parking.BATCH_FULL for is_in in said]
