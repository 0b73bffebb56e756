"""Latencies as HDR histograms, which can be sent between processes and merged without losing precision."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

_HIGHEST_US = 10 * 60 * 1_000_000
_DIGITS = 3
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Latencies:
    """Durations in microseconds, three significant digits, up to ten minutes; frozen and easy to send."""

    encoded: bytes

    @classmethod
    def of_ns(cls, durations_ns: Iterable[int]) -> "Latencies":
        """Of durations in nanoseconds; negative ones count as zero."""
        histogram = _empty()
        for value, count in Counter(max(0, ns // 1000) for ns in durations_ns).items():
            histogram.record_value(min(value, _HIGHEST_US), count)
        return cls(histogram.encode())

    @classmethod
    def merged(cls, parts: Iterable["Latencies"]) -> "Latencies":
        """All of `parts` in one."""
        histogram = _empty()
        for part in parts:
            histogram.decode_and_add(part.encoded)
        return cls(histogram.encode())

    @property
    def count(self) -> int:
        """How many durations."""
        return int(self._histogram().total_count)

    def percentiles_ms(self, percents: Sequence[float]) -> Sequence[float]:
        """The values at `percents` (0-100), in milliseconds; NaN where there are no durations."""
        histogram = self._histogram()
        if not histogram.total_count:
            return [float("nan")] * len(percents)
        return [histogram.get_value_at_percentile(percent) / 1000 for percent in percents]

    def _histogram(self) -> HdrHistogram:
        return HdrHistogram.decode(self.encoded)


def by_second(start_ns: int, dues_ns: Sequence[int], durations_ns: Sequence[int]) -> Mapping[int, Latencies]:
    """Latencies by the second after `start_ns` in which the event was due."""
    seconds: defaultdict[int, list[int]] = defaultdict(list)
    for due, duration in zip(dues_ns, durations_ns, strict=True):
        seconds[(due - start_ns) // _NS_PER_S].append(duration)
    return {second: Latencies.of_ns(durations) for second, durations in sorted(seconds.items())}


def _empty() -> HdrHistogram:
    return HdrHistogram(1, _HIGHEST_US, _DIGITS)
