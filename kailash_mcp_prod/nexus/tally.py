"""How often workflows ran, how they ended and how long they took."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

_MOST: Final = 1000


@dataclass(slots=True)
class WorkflowFigures:
    """The figures of one workflow since the start."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    slowest_seconds: float = 0.0


_NONE: Final = WorkflowFigures()


class Tally:
    """Counts the runs of each workflow."""

    def __init__(self) -> None:
        self._figures: dict[str, WorkflowFigures] = {}

    def count(self, name: str, seconds: float, error: str | None) -> None:
        """Counts a run that took so long, and failed with that code or not."""
        figures = self._figures.get(name)
        if figures is None:
            if len(self._figures) >= _MOST:
                # Only of workflows that came and went.
                del self._figures[next(iter(self._figures))]
            figures = self._figures[name] = WorkflowFigures()
        figures.calls += 1
        figures.seconds += seconds
        figures.slowest_seconds = max(figures.slowest_seconds, seconds)
        if error is not None:
            figures.errors += 1

    def of(self, name: str) -> dict[str, Any]:
        """The figures of one workflow."""
        return _told([self._figures.get(name, _NONE)])

    def total(self) -> dict[str, Any]:
        """The figures of all workflows together."""
        return _told(self._figures.values())


def _told(every: Collection[WorkflowFigures]) -> dict[str, Any]:
    calls = sum(each.calls for each in every)
    seconds = sum(each.seconds for each in every)
    return {
        "calls": calls,
        "errors": sum(each.errors for each in every),
        "average_response_time_ms": round(1000 * seconds / calls, 3) if calls else 0.0,
        "slowest_response_time_ms": round(
            1000 * max((each.slowest_seconds for each in every), default=0.0), 3
        ),
    }
