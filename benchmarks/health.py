"""Whether a generator process keeps up: if it doesn't, what it measured is itself."""

import time
from dataclasses import dataclass
from pathlib import Path

_WINDOW_NS = 1_000_000_000
_SCHEDSTAT = Path("/proc/self/schedstat")


@dataclass(frozen=True, slots=True)
class Health:
    """Of one generator process, since its load began."""

    cpu_s: float
    """CPU it used."""
    busiest: float
    """The share of a core it used in its busiest second (or in all, when that was shorter)."""
    wait_ms: float
    """How long it had to wait for a core each time it had something to do, on average."""


class HealthMeter:
    """Watches the process that it is in. Call `look` often: it costs next to nothing."""

    def __init__(self) -> None:
        """Begin to watch."""
        self.begin()

    def begin(self) -> None:
        """Forget what was before."""
        self._begun = self._window = time.monotonic_ns()
        self._cpu_begun = self._cpu_window = time.process_time_ns()
        self._busiest = 0.0
        self._waited, self._turns = _schedstat()

    def look(self, now_ns: int) -> None:
        """End the window of a second if it is over at `now_ns`."""
        if now_ns - self._window < _WINDOW_NS:
            return
        cpu = time.process_time_ns()
        self._busiest = max(self._busiest, (cpu - self._cpu_window) / (now_ns - self._window))
        self._window, self._cpu_window = now_ns, cpu

    def report(self) -> Health:
        """What was seen since `begin`."""
        now, cpu = time.monotonic_ns(), time.process_time_ns()
        busiest = self._busiest or (cpu - self._cpu_begun) / max(1, now - self._begun)
        waited, turns = _schedstat()
        wait_ns = (waited - self._waited) / max(1, turns - self._turns)
        return Health((cpu - self._cpu_begun) / 1e9, busiest, wait_ns / 1e6)


def _schedstat() -> tuple[int, int]:
    """Nanoseconds that the main thread was ready but not running, and how often it ran."""
    _ran, waited, turns = _SCHEDSTAT.read_text().split()
    return int(waited), int(turns)
