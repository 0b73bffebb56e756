"""The values that go into the store and come out of it. Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal, NamedTuple

from doorstep.actors.records import Partition, StoredRecord
from doorstep.gateway.cursor import Cursor, ResetReason

Entry = tuple[str, bytes, bytes]
"""One notification to append: its user, what makes it a repeat, and its JSON object.

A plain tuple, because to make a named one takes as long as to find its place in a call.
"""


class Logged(NamedTuple):
    """One notification as it stands in a log: `previous` and `digest` are the chain before and after it."""

    user_id: str
    seq: int
    previous: str
    digest: str
    payload: bytes

    @property
    def cursor(self) -> Cursor:
        """The cursor of a client that has got it."""
        return Cursor(self.seq, self.digest)


class Want(NamedTuple):
    """What to read: up to `limit` notifications after a cursor; without one, the last `replay`."""

    user_id: str
    after: Cursor | None
    limit: int
    replay: int = 0


class Page(NamedTuple):
    """What was read. The notifications continue the cursor and each other without a gap.

    `reset` is None, or why the cursor can't be continued: "gone" (nothing is known of this user any more),
    "trimmed" (what follows it is no longer kept), "diverged" (it is of another history). The client then
    starts over at `head`, and the page has no notifications. There is more to read while the last of them is
    before `head`. The user has read up to the number `read`, on whatever device; 0: nothing.
    """

    notifications: Sequence[Logged]
    head: Cursor
    reset: ResetReason | None
    read: int = 0

    @property
    def unread(self) -> int:
        """How many notifications the user has not read."""
        return max(self.head.seq - self.read, 0)


Pushed = tuple[bytes, int, bytes, bytes, bytes]
"""One notification as an append published it: user, seq, previous digest, digest, payload.

Bytes in a bare tuple, because every holder unpacks all of its slots' notifications, also those for nobody.
"""


class Checkpoint(NamedTuple):
    """How far a partition was done with: its lowest unacknowledged offset, in the topic with this id."""

    offset: int
    topic_id: str = ""
    """Empty where it was not known."""


class Canary(NamedTuple):
    """A checkpoint that only its consumer writes and that only grows, and what it is at least.

    A Redis where it is less has lost what went before.
    """

    group: str
    partition: Partition
    checkpoint: int

    def is_among(self, checkpoints: Mapping[Partition, Checkpoint]) -> bool:
        """Whether these are of a Redis that has lost nothing since the canary was written."""
        found = checkpoints.get(self.partition)
        return found is not None and found.offset >= self.checkpoint


Registered = Literal["new", "same", "conflict"]
"""What a registration came to."""


class Parking(Enum):
    """What became of an event whose batch has no known user."""

    PARKED = "parked"
    """It is kept, or was already (the same record was parked before)."""
    BATCH_FULL = "batch_full"
    """Not kept: too many events of this batch wait. Dead-letter it as `park_full`."""
    FULL = "full"
    """Not kept: too many events wait in all. Pause the event partitions, offer it again later."""


class Parked(NamedTuple):
    """A parked event; `record.identity` is its name for `unpark`."""

    batch_id: str
    record: StoredRecord
