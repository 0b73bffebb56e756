"""Which actors are wanted on which nodes, and how to get there from those that there are. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from doorstep.actors.placement.cell import HERE, Cell, consumers, edition_of, kind_of, node_of
from doorstep.actors.placement.spec import Spec


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
class Known:
    """What the wanted actors say of themselves, where that matters."""

    serving: Collection[str] = ()
    """Those who do their work."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where they are: by name, the node."""


NOTHING = Known()


def plan(
    spec: Spec, observed: Collection[str], nodes: Collection[str], known: Known = NOTHING
) -> list[Action]:
    """What turns the `observed` actors into those of the spec on the living `nodes`. Those of another edition
    stay until their successors serve.

    Without any nobody starts: a consumer would be where it is not to be, and stay there.
    Restarts are not planned: an actor that has died is observed still, and Ray restarts it where it was.
    """
    names = spec.on(nodes)
    gone = sorted(name for name in observed if node_of(name) not in (HERE, *nodes))
    too_many = sorted(set(observed).difference(names, gone))
    ended = [name for name in too_many if _successors(name, spec, observed, nodes).issubset(known.serving)]
    missing = [name for name in names if nodes and name not in observed]
    moved = [] if missing else _to_move(spec, nodes, known)
    return [*map(Forget, gone), *map(Start, missing), *map(Stop, [*ended, *moved])]


def _to_move(spec: Spec, nodes: Collection[str], known: Known) -> list[str]:
    """The next consumer that is on a node that is drained, while there is another node; it is started there
    once it has left. One after the other: those that are left read its partitions meanwhile."""
    names = consumers(spec.consumers, spec.edition)
    on_drained = [name for name in names if known.places.get(name) in spec.draining]
    elsewhere = set(nodes).difference(spec.draining)
    return on_drained[:1] if elsewhere and set(names).issubset(known.serving) else []


def _successors(name: str, spec: Spec, observed: Collection[str], nodes: Collection[str]) -> set[str]:
    """Who must serve before this actor is stopped: of a gateway the next one, which takes its ports; of a
    holder nobody more once its own gateway, which hands sockets over to it, has ended; of a consumer all."""
    edition, node = edition_of(name), node_of(name)
    if edition != spec.edition and kind_of(name) == "consumer":
        return {*consumers(spec.consumers, spec.edition)}
    if edition != spec.edition and kind_of(name) in ("gateway", "holder"):
        next_gateway = {Cell.of(node, spec.holders, spec.edition).gateway} & set(spec.on(nodes))
        own_gateway = {Cell.of(node, spec.holders, edition).gateway} & set(observed) - {name}
        return next_gateway | own_gateway
    return set()
