"""Which actors are wanted on which nodes, and how to get there from those that there are. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from doorstep.actors.placement.cell import HERE, Cell, consumers, node_of


@dataclass(frozen=True, slots=True)
class Start:
    """Create this actor, on its node."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Let this actor finish, then remove it."""

    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove this actor: its node is gone, and nobody is there to finish."""

    name: str


Action = Start | Stop | Forget


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be there, whatever the nodes are."""

    holders: int
    """Of each cell."""
    consumers: int

    def on(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """The names of all actors but the supervisor: a cell for each node, and the consumers."""
        cells = (Cell.of(node, self.holders) for node in sorted(nodes))
        return (*(name for cell in cells for name in cell.actors), *consumers(self.consumers))


def plan(wanted: Wanted, observed: Collection[str], nodes: Collection[str]) -> list[Action]:
    """What turns the `observed` actors into the wanted ones on the living `nodes`.

    Restarts are not planned: an actor that has died is observed still, and Ray restarts it where it was.
    """
    names = wanted.on(nodes)
    gone = sorted(name for name in observed if node_of(name) not in (HERE, *nodes))
    too_many = sorted(set(observed).difference(names, gone))
    missing = [name for name in names if name not in observed]
    return [*map(Forget, gone), *map(Start, missing), *map(Stop, too_many)]
