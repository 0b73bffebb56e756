"""A user's log: numbered notifications, each of which proves all before it by the digest chain.

`append` and `read` are one script call each (`append.lua`, `read.lua`), so that no reader and no second
consumer ever sees half of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgpack

from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.records import name_of
from doorstep.actors.store.redis.calls import Call, Connection, Script
from doorstep.actors.store.redis.link import Argument, Reply
from doorstep.actors.store.values import Canary, Entry, Logged, Page, Want
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor, ResetReason

_PAGE_BYTES = 256 * 1024
_CALL_ENTRIES = 64
"""A script call takes further slots until it has so many entries: by itself it costs about 8 µs, and nobody
else is served until it ends.
"""
_SLOT_ENTRIES = 500
_SLOT_BYTES = 1 << 20
"""No call has more than this of one slot, but at least one entry."""


_ByUser = Sequence[Sequence[Entry]]
"""The entries of each user of a slot."""

_APPEND = Script("head.lua", "canary.lua", "append.lua")
_READ = Script("head.lua", "read_mark.lua", "settled.lua", "read.lua")
_MARK_READ = Script("head.lua", "read_mark.lua", "mark_read.lua")
_HEADS = Script("head.lua", "settled.lua", "heads.lua")


class Log:
    """The logs of all users."""

    def __init__(self, connection: Connection, history: HistorySettings) -> None:
        self._connection = connection
        self._keys = connection.keys
        self._publish = "SPUBLISH" if connection.sharded else "PUBLISH"
        self._limits = (
            history.max_count,
            history.ttl_s * 1000,
            history.head_ttl_s * 1000,
            history.dedupe_window,
            self._publish,
        )
        self.repairs = 0
        """Users whose keys did not agree with each other and were put right by an append."""

    async def append(self, entries: Sequence[Entry], canary: Canary | None = None) -> int:
        """Append entries and say how many were new; the others are repeats.

        Each slot's entries are appended and published in one script, all slots' go out in one write. The
        entries of one user keep their order. The caller sees to it that no other append of the same slots
        is in flight.
        Raises `StoreUnavailable`: any part may have been carried out; repeat the same call. Raises
        `StoreLost` where the `canary` is not as it says, or the stamp is gone: nothing was carried out there.
        """
        new = 0
        while entries:
            wave, entries = _first_wave(entries)
            for new_of_call, repairs in await self._connection.run([*self._append_calls(wave, canary)]):
                new += new_of_call
                self.repairs += repairs
        return new

    async def read(self, wants: Sequence[Want], *, now: bool = False) -> Sequence[Page | None]:
        """Read a page for each want, in one write per server. Raises `StoreUnavailable`.

        A page is shorter than its want where it would be larger than about 256 KiB. It is None where Redis
        has lost writes that may be on their way back, so that nobody can say yet where the log ends, or
        whether it continues a cursor; unless it is to be said `now`, by what there is.
        """
        replies = await self._connection.run([self._read_call(want) for want in wants])
        return [
            None if not reply or (not reply[0] and not now) else _page(want, reply[1:])
            for want, reply in zip(wants, replies, strict=True)
        ]

    async def heads(self, user_ids: Sequence[str]) -> Sequence[Cursor | None]:
        """The head of each user's log; None as in `read`. Raises `StoreUnavailable`."""
        groups: dict[int, list[str]] = {}
        for user_id in user_ids:
            groups.setdefault(slot_of(user_id) if self._connection.sharded else 0, []).append(user_id)
        replies = await self._connection.run([self._heads_call(*group) for group in groups.items()])
        heads: dict[str, Cursor] = {}
        for users, reply in zip(groups.values(), replies, strict=True):
            heads.update(zip(users, _cursors(reply), strict=False))
        return [heads.get(user_id) for user_id in user_ids]

    async def mark_read(self, marks: Mapping[str, Cursor]) -> int:
        """Remember that these users have read up to these cursors; says how many marks moved.

        A mark never moves backwards, and what is no cursor of the user's log moves none. The feeds of those
        that moved have their subscribers read. Raises `StoreUnavailable`: repeat the same call.
        """
        return sum(await self._connection.run([self._mark_call(*mark) for mark in marks.items()]))

    def _append_calls(self, entries: Sequence[Entry], canary: Canary | None) -> Iterator[Call]:
        """One slot a call where slots may be on different servers, else several."""
        enough = 1 if self._connection.sharded else _CALL_ENTRIES
        group: dict[int, _ByUser] = {}
        size = 0
        for slot, users in _by_slot(entries).items():
            group[slot] = users
            size += sum(map(len, users))
            if size >= enough:
                yield self._append_call(group, canary)
                group, size = {}, 0
        if group:
            yield self._append_call(group, canary)

    def _append_call(self, group: Mapping[int, _ByUser], canary: Canary | None) -> Call:
        tag = next(iter(group)) if self._connection.sharded else 0
        keys = [self._keys.checkpoints(tag, canary.group if canary else ""), self._keys.stamp(tag)]
        seen = (name_of(canary.partition), canary.checkpoint) if canary else ("", 0)
        message: list[Argument] = [*seen, *self._limits, len(group)]
        payloads: list[bytes] = []
        for slot, users in group.items():
            message += (self._keys.feed(slot), len(users))
            for of_user in users:
                user_id = of_user[0][0]
                keys += self._keys.user(slot, user_id)
                message += (user_id, len(of_user))
                for _, dedupe_key, payload in of_user:
                    message.append(dedupe_key)
                    payloads.append(payload)
        return _APPEND.call(keys, [msgpack.packb(message, use_bin_type=False), *payloads])

    def _read_call(self, want: Want) -> Call:
        slot = slot_of(want.user_id)
        log, head, _ = self._keys.user(slot, want.user_id)
        if want.after is None:
            mode: tuple[Argument, ...] = ("last", want.replay, "", min(want.limit, want.replay))
        else:
            mode = ("after", want.after.seq, want.after.digest, want.limit)
        return _READ.call([log, head, self._stamp(slot)], [*mode, _PAGE_BYTES])

    def _mark_call(self, user_id: str, cursor: Cursor) -> Call:
        slot = slot_of(user_id)
        log, head, _ = self._keys.user(slot, user_id)
        channel = self._keys.feed(slot)
        return _MARK_READ.call([log, head], [cursor.seq, cursor.digest, user_id, channel, self._publish])

    def _heads_call(self, slot: int, users: Sequence[str]) -> Call:
        heads = [self._keys.user(slot_of(user), user)[1] for user in users]
        return _HEADS.call([self._stamp(slot), *heads], [])

    def _stamp(self, slot: int) -> str:
        return self._keys.stamp(slot if self._connection.sharded else 0)


def _by_slot(entries: Iterable[Entry]) -> Mapping[int, _ByUser]:
    slots: dict[int, list[list[Entry]]] = {}
    users: dict[str, list[Entry]] = {}
    for entry in entries:
        user_id = entry[0]
        if user_id in users:
            users[user_id].append(entry)
        else:
            of_user = users[user_id] = [entry]
            slots.setdefault(slot_of(user_id), []).append(of_user)
    return slots


def _first_wave(entries: Sequence[Entry]) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """What may be sent at once, so that no slot's call is too large for the server; and the rest.

    The rest has to wait: if the first call for a slot failed, the second one would overtake it.
    """
    if len(entries) <= _SLOT_ENTRIES and sum([len(payload) for _, _, payload in entries]) <= _SLOT_BYTES:
        return entries, ()
    wave: list[Entry] = []
    rest: list[Entry] = []
    counts, sizes = [0] * SLOTS, [0] * SLOTS
    for entry in entries:
        slot = slot_of(entry[0])
        counts[slot] += 1
        sizes[slot] += len(entry[2])
        fits = counts[slot] <= _SLOT_ENTRIES and sizes[slot] <= _SLOT_BYTES
        (wave if fits or counts[slot] == 1 else rest).append(entry)
    return wave, rest


def _page(want: Want, reply: Reply) -> Page:
    """Judge what `read.lua` returned. Only entries that continue the cursor and each other count."""
    has_head, seq, digest, read, first = reply[:5]
    head = Cursor(seq, digest.decode())
    entries = [(digests[:16].decode(), digests[16:].decode(), payload) for digests, payload in _pairs(reply)]
    if want.after is None:
        return Page(_chain(want.user_id, first, None, head, entries), head, None, read)
    notifications = _chain(want.user_id, want.after.seq + 1, want.after.digest, head, entries)
    if notifications:
        return Page(notifications, head, None, read)
    return Page((), head, _reason(want.after, head, known=bool(has_head), entries=bool(entries)), read)


def _pairs(reply: Reply) -> Iterable[tuple[bytes, bytes]]:
    return zip(reply[5::2], reply[6::2], strict=True)


def _cursors(reply: Reply) -> Iterable[Cursor]:
    return [Cursor(seq, digest.decode()) for seq, digest in zip(reply[::2], reply[1::2], strict=True)]


def _chain(
    user_id: str, seq: int, previous: str | None, head: Cursor, entries: Sequence[tuple[str, str, bytes]]
) -> Sequence[Logged]:
    chain: list[Logged] = []
    for before, after, payload in entries:
        if previous not in (None, before) or (seq == head.seq and after != head.digest):
            break
        chain.append(Logged(user_id, seq, before, after, payload))
        seq, previous = seq + 1, after
    return chain


def _reason(after: Cursor, head: Cursor, *, known: bool, entries: bool) -> ResetReason | None:
    """Why nothing continues the cursor; None when that is because it is the head."""
    if after == head:
        return None
    if not known:
        return "gone"
    return "diverged" if entries or after.seq >= head.seq else "trimmed"
