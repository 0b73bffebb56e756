"""Random input in numbers: 100,000 rounds in every run, a million in `make fuzz`, each run from another seed.

`FUZZ_ROUNDS` and `FUZZ_SEED` set both; the seed is printed, and pytest shows it with a failure.
"""

import os
import random
from collections.abc import Iterator

ROUNDS = 100_000


def fuzz() -> Iterator[random.Random]:
    """The source of chance, once for each round."""
    seed = int(os.environ.get("FUZZ_SEED", random.getrandbits(32)))
    rounds = int(os.environ.get("FUZZ_ROUNDS", ROUNDS))
    print(f"FUZZ_SEED={seed} FUZZ_ROUNDS={rounds}")
    chance = random.Random(seed)
    for _ in range(rounds):
        yield chance
