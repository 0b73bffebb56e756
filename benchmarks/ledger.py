"""What one connection received, judged event by event: hers, once, in order, complete."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exactness:
    """What was to be delivered, and what was."""

    expected: int = 0
    delivered: int = 0
    """Of the expected ones, those that came, however often or late."""
    duplicates: int = 0
    disordered: int = 0
    """Came after one that was produced later."""
    foreign: int = 0
    """Belonged to another user."""

    @property
    def missing(self) -> int:
        """Expected ones that never came."""
        return self.expected - self.delivered

    @property
    def exact(self) -> bool:
        """Every expected one came, once, in order, and nothing else came."""
        return not (self.missing or self.duplicates or self.disordered or self.foreign)

    def __add__(self, other: "Exactness") -> "Exactness":
        return Exactness(
            self.expected + other.expected,
            self.delivered + other.delivered,
            self.duplicates + other.duplicates,
            self.disordered + other.disordered,
            self.foreign + other.foreign,
        )


class Ledger:
    """Of one connection of user `user`, whose events are numbered 1, 2, 3 … in the order of producing."""

    __slots__ = ("_disordered", "_duplicates", "_foreign", "_holes", "_settled", "last", "user")

    def __init__(self, user: int) -> None:
        self.user = user
        self.last = 0
        """Highest number received."""
        self._holes: set[int] = set()
        self._settled = 0
        self._forget()

    def note(self, user: int, number: int) -> bool:
        """Write one delivery down; whether it counts: the first one of an event that is hers."""
        if user == self.user and number == self.last + 1:
            self.last = number
            return True
        return self._note_odd(user, number)

    def due(self, total: int) -> int:
        """How many of her first `total` events were not judged yet."""
        return total - self._settled

    def settle(self, total: int) -> Exactness:
        """Judge what came since the last time, now that all of her first `total` events should be here."""
        gone = len(self._holes) + max(0, total - self.last)
        expected = self.due(total)
        result = Exactness(expected, expected - gone, self._duplicates, self._disordered, self._foreign)
        self.last = max(self.last, total)
        self._settled = total
        self._forget()
        return result

    def _note_odd(self, user: int, number: int) -> bool:
        if user != self.user:
            self._foreign += 1
        elif number > self.last:
            self._holes.update(range(self.last + 1, number))
            self.last = number
            return True
        elif number in self._holes:
            self._holes.discard(number)
            self._disordered += 1
            return True
        else:
            self._duplicates += 1
        return False

    def _forget(self) -> None:
        self._holes.clear()
        self._duplicates = self._disordered = self._foreign = 0
