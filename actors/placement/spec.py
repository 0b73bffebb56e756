"""What an operator wants of a fleet: one record with a generation, changed as a whole. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from doorstep.actors.placement.cell import Cell, consumers
from doorstep.actors.placement.slots import MAX_HOLDERS

_FORMAT = 1
"""Of the record. It grows when an older Doorstep would misread what a newer one wrote."""


class SpecError(ValueError):
    """A spec that can't be, or can't be read; the message says why."""


class OtherFleetError(SpecError):
    """The record is that of another fleet, which lives."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The desired state of a fleet."""

    fleet: str
    """Whose record it is: the Ray and its namespace."""
    holders: int
    """Of each cell."""
    consumers: int
    """Of all nodes together."""
    digest: str
    """Of version and settings."""
    version: str
    """Of the code."""
    generation: int = 1
    """One more with each change."""
    edition: int = 1
    """One more with each replacement of all actors: by another version, or with other settings."""
    draining: Mapping[str, float] = field(default_factory=dict)
    """By node, the unix second by which its sockets are to be gone."""

    def __post_init__(self) -> None:
        """Raises `SpecError` for numbers that can't be."""
        if not 1 <= self.holders <= MAX_HOLDERS:
            raise SpecError(f"a node has 1 to {MAX_HOLDERS} holders, not {self.holders}")
        if self.consumers < 1:
            raise SpecError(f"a fleet has 1 consumer or more, not {self.consumers}")

    @classmethod
    def decode(cls, record: bytes) -> "Spec":
        """Inverse of `encode`; raises `SpecError` for anything else."""
        try:
            fields = orjson.loads(record)
            found = fields.pop("format")
            if found == _FORMAT:
                return cls(**fields)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise SpecError(f"the spec can't be read: {error}") from error
        raise SpecError(f"the spec has format {found}, this Doorstep knows {_FORMAT}")

    def encode(self) -> bytes:
        """As it is kept."""
        return orjson.dumps({"format": _FORMAT, **asdict(self)}, option=orjson.OPT_SORT_KEYS)

    def changed(self, **fields: Any) -> "Spec":
        """The next generation, with these fields; itself where they are as they were. Raises `SpecError`."""
        other = replace(self, **fields)
        return self if other == self else replace(other, generation=self.generation + 1)

    def drained(self, node: str, until: float | None, nodes: Collection[str]) -> "Spec":
        """The next generation, in which the sockets of a node are to be gone by `until`, or none need go.

        `nodes` are those that there are. Raises `SpecError` for another one.
        """
        if node not in nodes:
            raise SpecError(
                f"there is no node {node!r}; there are: {', '.join(sorted(nodes)) or 'none with a name'}"
            )
        others = {name: at for name, at in self.draining.items() if name in nodes and name != node}
        return self.changed(draining=others if until is None else {**others, node: until})

    def on(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """The names of all actors but the supervisor: a cell for each node, and the consumers."""
        cells = (Cell.of(node, self.holders, self.edition) for node in sorted(nodes))
        return (*(name for cell in cells for name in cell.actors), *consumers(self.consumers, self.edition))


def differences(found: Spec, wanted: Spec) -> Iterator[str]:
    """What is not as it is wanted, a line each."""
    for name in ("version", "digest", "holders", "consumers"):
        there, here = getattr(found, name), getattr(wanted, name)
        if there != here:
            yield f"{name}: {there} in force, {here} wanted"


def restored(found: Spec | None, known: Spec) -> Spec:
    """What a record is to hold where its supervisor knows `known`: what was lost, or went back to an older
    generation, is written again; the record of a fleet or an edition that was there before is taken over."""
    if found is None:
        return known
    if found.fleet != known.fleet or found.edition < known.edition:
        return replace(known, generation=max(found.generation, known.generation) + 1)
    return found if found.generation >= known.generation else known


def agreed(found: Spec | None, ours: Spec, *, with_numbers: bool) -> Spec:
    """What is wanted of a fleet once somebody who wants `ours` has started it or goes on with it: the numbers
    of its record stay, unless they are to be ours, too."""
    spec = restored(found, ours if found is None else replace(ours, edition=found.edition))
    numbers = {"holders": ours.holders, "consumers": ours.consumers} if with_numbers else {}
    return spec.changed(digest=ours.digest, version=ours.version, edition=ours.edition, **numbers)


def grace_of(left_s: float) -> float:
    """Of the seconds that are left until sockets are to be gone, those in which some are still taken, so that
    balancers notice first: a tenth."""
    return max(left_s, 0) / 10
