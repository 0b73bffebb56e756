"""What has become worse from one run to another, beyond what runs differ by anyway. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from doorstep.benchmarks.labels import OURS
from doorstep.benchmarks.results import Report
from doorstep.benchmarks.summary import HIGHER_IS_BETTER, Figure, Key, figures_of

NOISE_SHARE = 0.10
"""Medians that differ by less than this share are the same, however small the spread."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of ours in two runs."""

    key: Key
    before: Figure
    after: Figure

    @property
    def ratio(self) -> float:
        """How many times worse it has become; below 1: better."""
        if self.key.metric in HIGHER_IS_BETTER:
            return self.before.median / max(self.after.median, 1e-9)
        return self.after.median / max(self.before.median, 1e-9)

    @property
    def is_worse(self) -> bool:
        """Beyond noise."""
        return self.ratio > 1 and self._is_beyond_noise

    @property
    def is_better(self) -> bool:
        """Beyond noise."""
        return self.ratio < 1 and self._is_beyond_noise

    @property
    def _is_beyond_noise(self) -> bool:
        apart = abs(self.after.median - self.before.median)
        noise = max(self.before.spread, self.after.spread, NOISE_SHARE * abs(self.before.median))
        return apart > noise


def compare(before: Report, after: Report) -> Sequence[Change]:
    """Every figure of ours that is in both runs, the worst first."""
    return sorted(_common(before, after), key=lambda change: change.ratio, reverse=True)


def _common(before: Report, after: Report) -> Iterator[Change]:
    earlier, later = figures_of(before.runs), figures_of(after.runs)
    for key, figure in later.items():
        if key.target == OURS and key in earlier:
            yield Change(key, earlier[key], figure)
