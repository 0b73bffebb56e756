"""When to poll Kafka next: a few milliseconds of patience make one poll of many small ones."""


class Pace:
    """Keeps polls apart while records keep coming. Times are seconds of one monotonic clock."""

    def __init__(self, linger_s: float) -> None:
        """`linger_s`: the shortest time between the starts of two polls; 0 switches it off."""
        self._linger_s = linger_s
        self._earliest = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next poll may start; 0 after a pause, so that a lone record never waits."""
        return max(self._earliest - now, 0.0)

    def polled(self, started: float, *, brought: bool, more: bool) -> None:
        """A poll has returned. `brought`: it had records; `more`: it took all it could, so more are there."""
        self._earliest = started + self._linger_s if brought and not more else float("-inf")
