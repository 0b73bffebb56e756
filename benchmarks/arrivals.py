"""What a load asks of the producer: how many events, how fast, for how many users. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is due when, over how many users."""

    count: int
    rate: float
    """Events per second; 0: all of them at once, at the start."""
    users: int
    burst: int = 1
    """So many fall due together; the rate stays what it is."""
    hot_share: float = 0.0
    """Share of the events that the first user gets, the others' follow Zipf's law (exponent 1). 0: all get
    the same."""
    seed: int = 1
