"""Who is connected to a holder: the members of each user, and the slots that only guests need. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from doorstep.actors.placement.slots import slot_of

Kind = Literal["socket", "poll"]
"""How a member is connected."""


class Member(Protocol):
    """A connection, as far as counting goes."""

    @property
    def user_id(self) -> str:
        """Whose it is."""

    @property
    def kind(self) -> Kind:
        """How it is connected."""


M = TypeVar("M", bound=Member)


class Registry(Generic[M]):
    """The members of each user.

    A holder owns slots. A user of any other slot is a guest: its slot is needed for as long as a guest of it
    is there.
    """

    def __init__(self, owned: Collection[int], limits: Mapping[Kind, int]) -> None:
        """`limits`: how many members of each kind one user may have."""
        self.owned = frozenset(owned)
        """The slots that are ours."""
        self._limits = limits
        self._of: dict[str, tuple[M, ...]] = {}
        self._guests: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._of)

    def __iter__(self) -> Iterator[str]:
        """Their ids."""
        return iter(self._of)

    @property
    def slots(self) -> int:
        """How many slots are needed."""
        return len(self.owned) + len(self._guests)

    @property
    def connections(self) -> int:
        """How many members there are."""
        return sum(map(len, self._of.values()))

    def of(self, user_id: str) -> Sequence[M]:
        """The members of a user, oldest first: those of now, whoever comes or leaves meanwhile."""
        return self._of.get(user_id, ())

    def everyone(self) -> list[M]:
        """All members, as they are now."""
        return [member for of_one in self._of.values() for member in of_one]

    def has_room(self, user_id: str, kind: Kind) -> bool:
        """Whether the user may have one more member of this kind."""
        return sum(member.kind == kind for member in self.of(user_id)) < self._limits[kind]

    def add(self, member: M) -> int | None:
        """One more member; the slot that is needed from now on, if none of ours."""
        self._of[member.user_id] = (*self.of(member.user_id), member)
        slot = slot_of(member.user_id)
        if slot in self.owned:
            return None
        self._guests[slot] += 1
        return slot if self._guests[slot] == 1 else None

    def own(self, slots: Collection[int]) -> frozenset[int]:
        """Own these slots from now on; those that nobody needs any more."""
        needed = self.owned | self._guests.keys()
        self.owned = frozenset(slots)
        homes = (slot_of(member.user_id) for member in self.everyone())
        self._guests = Counter(slot for slot in homes if slot not in self.owned)
        return needed - self.owned - self._guests.keys()

    def remove(self, member: M) -> int | None:
        """One member less, who was added before; the slot that nobody needs any more, if there is one."""
        others = tuple(each for each in self._of.pop(member.user_id) if each is not member)
        if others:
            self._of[member.user_id] = others
        slot = slot_of(member.user_id)
        if slot in self.owned:
            return None
        self._guests[slot] -= 1
        if self._guests[slot]:
            return None
        del self._guests[slot]
        return slot
