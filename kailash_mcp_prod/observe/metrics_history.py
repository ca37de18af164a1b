"""The figures of whole intervals, one after another."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from kailash_mcp_prod.observe.metrics_calls import NO_ERRORS
from kailash_mcp_prod.observe.metrics_histogram import Histogram, milliseconds
from kailash_mcp_prod.observe.metrics_snapshot import Figures

MOST_SAMPLES: Final = 360


@dataclass(frozen=True, slots=True)
class HistorySample:
    """What happened in one interval, and how it was at its end."""

    at: float
    seconds: float
    requests: int
    errors: int
    times: Histogram
    memory_mb: float
    concurrent: int
    lag_ms: float

    def to_dict(self) -> dict[str, Any]:
        """As it stands in results."""
        return {
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "errors": self.errors,
            "requests_per_second": round(self.requests / self.seconds, 3) if self.seconds else 0.0,
            "average_response_time_ms": milliseconds(self.times.average),
            "p95_response_time_ms": milliseconds(self.times.quantile(0.95)),
            "memory_usage_mb": self.memory_mb,
            "concurrent_requests": self.concurrent,
            "event_loop_lag_ms": self.lag_ms,
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """What had been counted at one moment."""

    at: float
    requests: int
    errors: int
    times: Histogram
    memory_mb: float
    concurrent: int
    lag_ms: float

    @classmethod
    def of(cls, figures: Figures) -> Self:
        """Now."""
        return cls(
            at=time.time(),
            requests=requests_in(figures),
            errors=errors_in(figures),
            times=figures.times(),
            memory_mb=memory_mb(figures),
            concurrent=int(value_of(figures, "mcp_concurrency_running", limit="server")),
            lag_ms=lag_ms(figures),
        )

    def since(self, earlier: Moment) -> HistorySample:
        """What happened after an earlier moment."""
        return HistorySample(
            at=self.at,
            seconds=self.at - earlier.at,
            requests=self.requests - earlier.requests,
            errors=self.errors - earlier.errors,
            times=self.times.since(earlier.times),
            memory_mb=self.memory_mb,
            concurrent=self.concurrent,
            lag_ms=self.lag_ms,
        )


def requests_in(figures: Figures) -> int:
    """How many calls there were that are no parts of others."""
    return sum(cell.count for (_, _, part), cell in figures.cells.items() if not part)


def errors_in(figures: Figures) -> int:
    """How many of them failed."""
    return sum(
        cell.count
        for (_, outcome, part), cell in figures.cells.items()
        if not part and outcome not in NO_ERRORS
    )


def value_of(figures: Figures, family: str, **labels: str) -> float:
    """The sum of a family's samples with these labels."""
    found = figures.families.get(family)
    if found is None:
        return 0.0
    return sum(each.value for each in found.samples if labels.items() <= each.labels.items())


def memory_mb(figures: Figures) -> float:
    """The resident memory of all workers, in units of 1,048,576 bytes."""
    return round(value_of(figures, "process_resident_memory_bytes") / 2**20, 1)


def lag_ms(figures: Figures) -> float:
    """The longest wait on the event loop of any worker."""
    found = figures.families.get("mcp_event_loop_lag_seconds")
    return (
        round(max((each.value for each in found.samples), default=0.0) * 1000, 3) if found else 0.0
    )
