"""Durations in fine buckets: exact counts, and quantiles that are off by less than five percent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

_STEPS: Final = ((1, 2, 8), (2, 5, 10), (5, 10, 8))
_FIRST_DECADE, _DECADES = -5, 9

EXPORTED: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""The bounds that Prometheus gets: those of OpenTelemetry's conventions, and shorter ones."""


def _bounds() -> list[float]:
    """A tenth apart at most, with 1, 2 and 5 of each decade among them."""
    found = set(EXPORTED)
    for decade in range(_FIRST_DECADE, _FIRST_DECADE + _DECADES):
        for low, high, steps in _STEPS:
            ratio = (high / low) ** (1 / steps)
            found.add(float(f"{low}e{decade}"))
            found |= {low * ratio**step * 10.0**decade for step in range(1, steps)}
    return sorted(found)


BOUNDS: Final = _bounds()
"""The upper bounds of all buckets but the last, from 10 µs on, in seconds."""

BUCKETS: Final = len(BOUNDS) + 1
_PLACES: Final = tuple(BOUNDS.index(bound) for bound in EXPORTED)

Wire = tuple[int, float, float, dict[int, int]]
"""Count, sum, longest, and the buckets that are not empty."""


class Histogram:
    """How often something took how long.

    Attributes:
        count: How often.
        total: How long all together, in seconds.
        longest: The longest.
        buckets: By the place of the bound in `BOUNDS`, how many took that long at most and longer
            than the bound before. Whoever has no time to call `add` adds to it itself.
    """

    __slots__ = ("buckets", "count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self.buckets = [0] * BUCKETS

    def add(self, index: int, seconds: float) -> None:
        """Counts one duration, whose place `bisect_left(BOUNDS, seconds)` has found."""
        self.count += 1
        self.total += seconds
        self.buckets[index] += 1
        if seconds > self.longest:  # noqa: PLR1730 - a call of max takes longer than all of this
            self.longest = seconds

    def merge(self, other: Histogram) -> Self:
        """Counts those of another one too."""
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        return self

    def copy(self) -> Histogram:
        """One of its own with the same counts."""
        made = Histogram()
        made.count, made.total, made.longest = self.count, self.total, self.longest
        made.buckets = self.buckets[:]
        return made

    def since(self, earlier: Histogram) -> Histogram:
        """What was counted after an earlier copy; its longest is a bound, not exact."""
        made = Histogram()
        made.count = self.count - earlier.count
        made.total = self.total - earlier.total
        made.buckets = [a - b for a, b in zip(self.buckets, earlier.buckets, strict=True)]
        filled = [place for place, count in enumerate(made.buckets) if count]
        if filled:
            made.longest = min(self.longest, BOUNDS[min(filled[-1], len(BOUNDS) - 1)])
        return made

    @property
    def average(self) -> float | None:
        """The mean; `None` of nothing."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The duration that this share of all stays below, within 5 %; `None` of nothing.

        It is the middle of the bucket in which the observation of that rank lies.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for place, count in enumerate(self.buckets):
            seen += count
            if seen >= rank:
                if place >= len(BOUNDS):
                    return self.longest
                below = BOUNDS[place - 1] if place else BOUNDS[0]
                return min(math.sqrt(below * BOUNDS[place]), self.longest)
        return self.longest

    def exported(self) -> Iterator[tuple[float, int]]:
        """For each bound of `EXPORTED`, how many took that long at most."""
        seen = begin = 0
        for bound, place in zip(EXPORTED, _PLACES, strict=True):
            seen += sum(self.buckets[begin : place + 1])
            begin = place + 1
            yield bound, seen

    def to_wire(self) -> Wire:
        """What another process reads."""
        filled = {place: count for place, count in enumerate(self.buckets) if count}
        return self.count, self.total, self.longest, filled

    @classmethod
    def from_wire(cls, wire: tuple[int, float, float, Mapping[int, int]]) -> Histogram:
        """What another process has written."""
        made = Histogram()
        made.count, made.total, made.longest, filled = wire
        for place, count in filled.items():
            made.buckets[place] += count
        return made


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as they stand in results."""
    return None if seconds is None else round(seconds * 1000, 3)


def ratio(part: float, whole: float) -> float:
    """A share of a whole; 0 of nothing."""
    return part / whole if whole else 0.0


def summary(histogram: Histogram) -> dict[str, Any]:
    """The figures of a histogram as they stand in results."""
    return {
        "average_response_time_ms": milliseconds(histogram.average),
        "p50_response_time_ms": milliseconds(histogram.quantile(0.5)),
        "p95_response_time_ms": milliseconds(histogram.quantile(0.95)),
        "p99_response_time_ms": milliseconds(histogram.quantile(0.99)),
    }
