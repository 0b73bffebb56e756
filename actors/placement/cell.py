"""A node's cell: one gateway and its holders. And what the name of an actor says. Pure."""

from dataclasses import dataclass

from doorstep.actors.placement.slots import SLOTS, owners, ranked, slot_of

SUPERVISOR = "supervisor"
HERE = ""
"""The only node of a Ray of our own: its actors' names say no node."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The actors of one node. Its holders own all slots among themselves, so every node is the right one."""

    gateway: str
    holders: tuple[str, ...]

    @classmethod
    def of(cls, node: str, holders: int, edition: int = 1) -> "Cell":
        """The cell of a node: `holder-0@<node>` and on, `gateway@<node>`; without the `@` if it is `HERE`,
        and with the edition before it if that is not the first: `gateway.e2@<node>`."""
        at = f"{mark_of(edition)}@{node}" if node else mark_of(edition)
        return cls(f"gateway{at}", tuple(f"holder-{number}{at}" for number in range(holders)))

    @property
    def actors(self) -> tuple[str, ...]:
        """Holders first, so that the gateway finds them."""
        return (*self.holders, self.gateway)

    def holders_of(self, user_id: str) -> list[str]:
        """All of them: the one that owns the user, then whoever is next in its place."""
        return [self.holders[number] for number in ranked(slot_of(user_id), len(self.holders))]

    def owner_of(self, slot: int) -> str:
        """The holder that owns a slot."""
        return self.holders[owners(len(self.holders))[slot]]

    def slots_of(self, holder: str) -> frozenset[int]:
        """The slots that a holder owns; none where it is not of this cell."""
        return frozenset(slot for slot in range(SLOTS) if self.owner_of(slot) == holder)


def consumers(number: int, edition: int = 1) -> tuple[str, ...]:
    """The names of that many consumers, which may be on any node."""
    return tuple(f"consumer-{each}{mark_of(edition)}" for each in range(number))


def mark_of(edition: int) -> str:
    """What the names of an edition's actors and files have: `.e2`; nothing for the first."""
    return f".e{edition}" if edition > 1 else ""


def kind_of(name: str) -> str:
    """What an actor is: `holder`, `gateway`, `consumer` or `supervisor`."""
    return name.partition("@")[0].partition(".")[0].partition("-")[0]


def node_of(name: str) -> str:
    """The node that an actor belongs to; empty for those that may be on any."""
    return name.partition("@")[2]


def edition_of(name: str) -> int:
    """The edition that an actor belongs to; the first for a supervisor, who has none."""
    number = name.partition("@")[0].partition(".e")[2]
    return int(number) if number.isdecimal() else 1


def is_far(name: str, node: str, edition: int) -> bool:
    """Whether an actor belongs to another node than this one, or to another edition."""
    return node_of(name) not in (HERE, node) or edition_of(name) != edition
