"""The figures of the dashboard: those of `/metrics` and `get_server_metrics`, and the charts."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

from kailash_mcp_prod.observe import metrics_report as report
from kailash_mcp_prod.observe.dashboard.fresh import Fresh
from kailash_mcp_prod.observe.dashboard.series import STEP_SECONDS, Reading, Series
from kailash_mcp_prod.observe.metrics_histogram import milliseconds
from kailash_mcp_prod.observe.metrics_history import HistorySample
from kailash_mcp_prod.observe.metrics_monitor import Monitor

_MOST_TOOLS: Final = 10
_ALL: Final = 10_000
_SEEN_SECONDS: Final = 30.0

NO_CALLS: Final = {"calls": 0, "errors": 0, "error_percent": None, "p50_ms": None, "p95_ms": None}


class ShownFigures:
    """Asks the server's metrics, of all workers together.

    The charts begin when somebody looks, and go on for half a minute after that.

    Args:
        monitor: Counts.
        fresh: Keeps what was asked for a second.
    """

    def __init__(self, monitor: Monitor, fresh: Fresh) -> None:
        self._monitor = monitor
        self._fresh = fresh
        self._looked_at = -_SEEN_SECONDS
        self._series = Series(self._read, self._is_seen)

    def look(self) -> None:
        """Notes that somebody looks."""
        self._looked_at = time.monotonic()
        if self._monitor.enabled:
            self._series.start()

    async def stop(self) -> None:
        """Ends the charts."""
        await self._series.stop()

    async def overview(self, visible: Collection[str]) -> dict[str, Any]:
        """What the page Overview shows; `server` is `None` when nothing is counted.

        Args:
            visible: The tools that may be named.
        """
        monitor = self._monitor
        if not monitor.enabled:
            return {"server": None, "sessions": None, "tools": [], "steps": [], "history": []}
        figures, counts = await self._collect()
        return {
            "server": report.server_metrics(
                figures, monitor.latest, slow_ms=monitor.slow_ms, started_at=monitor.started_at
            ),
            "sessions": report.session_analytics(figures, counts),
            "tools": report.tools(figures, visible, _MOST_TOOLS),
            "steps": self._series.steps,
            "step_seconds": STEP_SECONDS,
            "history": [_past(each) for each in monitor.history],
            "interval_seconds": monitor.interval,
        }

    async def tools(self) -> dict[str, dict[str, Any]]:
        """The figures of all tools that were called, by name."""
        if not self._monitor.enabled:
            return {}
        found: dict[str, dict[str, Any]] = await self._fresh.get("figures of tools", self._tools)
        return found

    async def agents(self) -> dict[str, tuple[int, int]]:
        """The calls of each agent, and how many of them failed."""
        if not (self._monitor.enabled and self._monitor.by_agent):
            return {}
        figures, _ = await self._collect()
        return {name: (agent.calls, agent.errors) for name, agent in figures.agents.items()}

    async def _tools(self) -> dict[str, dict[str, Any]]:
        figures, _ = await self._collect()
        names = {name for name, _, _ in figures.cells}
        return {
            each["tool"]: {
                "calls": each["calls"],
                "errors": each["errors"],
                "error_percent": each["error_rate_percent"],
                "p50_ms": each["p50_response_time_ms"],
                "p95_ms": each["p95_response_time_ms"],
            }
            for each in report.tools(figures, names, _ALL)
        }

    async def _collect(self) -> Any:
        return await self._fresh.get("figures", self._monitor.collect)

    async def _read(self) -> Reading:
        figures, _ = await self._collect()
        return Reading.of(figures, self._monitor.lag.worst)

    def _is_seen(self) -> bool:
        return time.monotonic() - self._looked_at < _SEEN_SECONDS


def _past(sample: HistorySample) -> dict[str, Any]:
    seconds = max(0.001, sample.seconds)
    return {
        "at": round(sample.at, 1),
        "calls_per_second": round(sample.requests / seconds, 3),
        "errors_per_second": round(sample.errors / seconds, 3),
        "average_ms": milliseconds(sample.times.average),
        "p95_ms": milliseconds(sample.times.quantile(0.95)),
        "lag_ms": sample.lag_ms,
        "running": sample.concurrent,
        "memory_mb": sample.memory_mb,
    }
