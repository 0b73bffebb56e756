"""The inbox: what one subscriber has got of its user's log, and what it gets next. Pure.

A subscriber is a socket or a long poll. Its inbox is told what happened (a push came, a page of the log was
read, the subscriber is full or has room again) and answers with what to do. The holder does it.

    state     a push that continues    any other push    a page was read          blocked    drained
    LIVE      send                     -> READING        -                        BLOCKED    -
    READING   there is more to read    the same          send; LIVE, or again     BLOCKED*   -
    BLOCKED   there is more to read    the same          drop it                  -          -> READING

*) the page that is under way is dropped when it comes; what it held is read again after the drain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from doorstep.actors.store.values import Logged, Page
from doorstep.gateway.cursor import Cursor, ResetReason

# Words, not an Enum: these are compared for every push, where looking up a member would cost the most.
State = Literal["live", "reading", "blocked"]
OnPush = Literal["send", "read", "nothing"]
"""What to do with a push."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first answer: the subscriber stands at `cursor`; `resumed` when it is the one it asked for, and
    `reset` says why it is not, where it asked for one. `read` and `unread` are as in `ReadMark`."""

    cursor: Cursor
    resumed: bool
    reset: ResetReason | None = None
    read: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """The subscriber's position is not part of the log any more; it goes on from `cursor`."""

    reason: ResetReason
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Send:
    """Notifications that directly continue what the subscriber has."""

    notifications: Sequence[Logged]


@dataclass(frozen=True, slots=True)
class ReadMark:
    """The user has read up to the number `read`, on whatever device; `unread` are left of the log."""

    read: int
    unread: int


@dataclass(frozen=True, slots=True)
class Read:
    """Read the log from the inbox's cursor."""


Step = Welcome | Reset | Send | ReadMark | Read


class Inbox:
    """One subscriber's position. It begins READING: its owner reads the first page without being told."""

    __slots__ = ("_digest", "_more", "_seq", "_under_way", "_welcomed", "read", "state")

    def __init__(self, cursor: Cursor | None) -> None:
        """Start at `cursor`; None: at the head, whatever that is."""
        self.state: State = "reading"
        self._welcomed = False
        self._under_way = True
        self._more = False
        self._seq = -1 if cursor is None else cursor.seq
        self._digest = b"" if cursor is None else cursor.digest.encode()
        self.read = 0
        """How far the user had read when the log was last read, on whatever device; 0: nothing."""

    @property
    def cursor(self) -> Cursor | None:
        """How far the subscriber has got; None until the first page of one that asked for the head."""
        return None if self._seq < 0 else Cursor(self._seq, self._digest.decode())

    @property
    def seq(self) -> int:
        """The number of that cursor; -1 without one."""
        return self._seq

    def push(self, seq: int, previous: bytes, digest: bytes) -> OnPush:
        """A notification came over the feed: a hint that is usually enough."""
        if self.state == "live":
            if previous == self._digest and seq == self._seq + 1:
                self._seq = seq
                self._digest = digest
                return "send"
            return self._read()
        self._more = True
        return "nothing"

    def is_elsewhere(self, head: Cursor) -> bool:
        """Whether a live subscriber stands elsewhere than at the log's head."""
        return self.state == "live" and head != self.cursor

    def see_head(self, head: Cursor) -> OnPush:
        """Somebody looked at the log's head: read if that is not where a live subscriber stands."""
        return self._read() if self.is_elsewhere(head) else "nothing"

    def block(self) -> None:
        """The subscriber takes no more for now."""
        self.state = "blocked"

    def drain(self) -> OnPush:
        """The subscriber has room again."""
        return self._read() if self.state == "blocked" else "nothing"

    def page(self, page: Page) -> Sequence[Step]:
        """A page that was read from this inbox's cursor; nothing to do if the subscriber is full by now."""
        self._under_way = False
        if self.state != "reading":
            return ()
        steps: list[Step] = []
        before = self._before(page)
        if not self._welcomed:
            self._welcomed = True
            self.read = page.read
            steps.append(self._welcome(page, before))
        elif page.reset is not None:
            steps.append(Reset(page.reset, page.head))
        if page.notifications:
            steps.append(Send(page.notifications))
            before = Cursor(page.notifications[-1].seq, page.notifications[-1].digest)
        self._seq, self._digest = before.seq, before.digest.encode()
        if page.read != self.read:
            self.read = page.read
            steps.append(ReadMark(page.read, page.unread))
        if self._more or (page.notifications and before != page.head):
            self._more = False
            self._under_way = True
            steps.append(Read())
        else:
            self.state = "live"
        return steps

    def _welcome(self, page: Page, at: Cursor) -> Welcome:
        resumed = self._seq >= 0 and page.reset is None
        return Welcome(at, resumed, page.reset, page.read, page.unread)

    def _read(self) -> OnPush:
        """Start reading, unless a page that was asked for before is still to come: it will do."""
        self.state = "reading"
        if self._under_way:
            return "nothing"
        self._under_way = True
        return "read"

    def _before(self, page: Page) -> Cursor:
        """Where the subscriber stands before it gets what is on the page."""
        if page.reset is not None:
            return page.head
        if page.notifications:
            first = page.notifications[0]
            return Cursor(first.seq - 1, first.previous)
        return self.cursor or page.head
