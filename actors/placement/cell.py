"""A node's cell: one gateway and its holders. And what the name of an actor says. Pure."""

from dataclasses import dataclass

from doorstep.actors.placement.slots import ranked, slot_of

SUPERVISOR = "supervisor"
HERE = ""
"""The only node of a Ray of our own: its actors' names say no node."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The actors of one node. Its holders own all slots among themselves, so every node is the right one."""

    gateway: str
    holders: tuple[str, ...]

    @classmethod
    def of(cls, node: str, holders: int) -> "Cell":
        """The cell of a node: `holder-0@<node>` and on, `gateway@<node>`; without the `@` if it is `HERE`."""
        at = f"@{node}" if node else ""
        return cls(f"gateway{at}", tuple(f"holder-{number}{at}" for number in range(holders)))

    @property
    def actors(self) -> tuple[str, ...]:
        """Holders first, so that the gateway finds them."""
        return (*self.holders, self.gateway)

    def holders_of(self, user_id: str) -> list[str]:
        """All of them: the one that owns the user, then whoever is next in its place."""
        return ranked(slot_of(user_id), self.holders)


def consumers(number: int) -> tuple[str, ...]:
    """The names of that many consumers, which may be on any node."""
    return tuple(f"consumer-{each}" for each in range(number))


def kind_of(name: str) -> str:
    """What an actor is: `holder`, `gateway`, `consumer` or `supervisor`."""
    return name.partition("@")[0].partition("-")[0]


def node_of(name: str) -> str:
    """The node that an actor belongs to; empty for those that may be on any."""
    return name.partition("@")[2]
