"""What a seed stands for: how large the world is, and what happens in it when. Pure."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_WAYS = ("socket", "socket", "poll")
_FAULTS = (0, 1, 2, 3, 4, 6)


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one run."""

    seed: int
    holders: tuple[int, ...]
    """Of each node."""
    consumers: int
    devices: tuple[tuple[str, ...], ...]
    """How those of each user connect."""
    events: int
    length_s: float
    faults: tuple[tuple[float, str], ...]
    """When which kind of fault happens."""

    @classmethod
    def of(cls, seed: int, kinds: Collection[str], numbers: Sequence[int] = _FAULTS) -> "Plan":
        """The plan of a seed, with one of these numbers of faults, of these kinds."""
        chance = random.Random(seed)
        length_s = chance.uniform(2, 15)
        happening = chance.choices(sorted(kinds), k=chance.choice(numbers))
        return cls(
            seed=seed,
            holders=tuple(chance.randint(1, 2) for _ in range(chance.randint(1, 2))),
            consumers=chance.randint(1, 3),
            devices=tuple(
                tuple(chance.choices(_WAYS, k=chance.randint(1, 2))) for _ in range(chance.randint(1, 4))
            ),
            events=chance.randint(10, 80),
            length_s=length_s,
            faults=tuple(sorted((chance.uniform(0, length_s), kind) for kind in happening)),
        )

    def chance(self, whose: str) -> random.Random:
        """Somebody's own dice, so that what one does changes nothing for the others."""
        return random.Random(f"{self.seed} {whose}")
