"""Which offsets of one partition may be committed. Pure.

Kafka's commit is one number: everything below it is done, everything from it on comes again after a crash.
Records are done in any order, so the number to commit is the lowest one that isn't done.
"""

from collections import deque


class Offsets:
    """The records of one partition that have been read, from the moment it is assigned until it is revoked.

    Offsets grow, but may skip numbers: compaction and transactions leave gaps. All operations take constant
    time, averaged over the records read.
    """

    __slots__ = ("_position", "_unacknowledged", "_waiting")

    def __init__(self, position: int) -> None:
        """Start at `position`, the offset of the next record that may come."""
        self._position = position
        self._waiting: deque[int] = deque()
        self._unacknowledged: set[int] = set()

    @property
    def position(self) -> int:
        """One past the last offset that was read."""
        return self._position

    @property
    def lowest_unacknowledged(self) -> int:
        """The offset to commit: every record below it is acknowledged. Never falls."""
        return self._waiting[0] if self._waiting else self._position

    def read(self, *offsets: int) -> None:
        """Note that the records at `offsets` were read.

        Raises `ValueError` at an offset that isn't past all earlier ones; those before it are noted.
        """
        for offset in offsets:
            if offset < self._position:
                raise ValueError(f"offset {offset} was read, though the position is {self._position} already")
            self._waiting.append(offset)
            self._unacknowledged.add(offset)
            self._position = offset + 1

    def skip_to(self, position: int) -> None:
        """Note that no record is left before `position` that was not read."""
        self._position = max(self._position, position)

    def acknowledge(self, *offsets: int) -> None:
        """Note that the records at `offsets` are done: appended, parked, dead-lettered or skipped.

        Raises `ValueError`, and changes nothing, unless each of them was read and isn't acknowledged yet.
        """
        done = set(offsets)
        if len(done) != len(offsets) or not done <= self._unacknowledged:
            strange = sorted(done - self._unacknowledged) or "one of them twice"
            raise ValueError(f"not waiting for an acknowledgement: {strange} of {len(offsets)} offsets")
        self._unacknowledged -= done
        while self._waiting and self._waiting[0] not in self._unacknowledged:
            self._waiting.popleft()
