"""The last minutes in short steps, for the charts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.observe.metrics_histogram import Histogram, milliseconds, ratio
from kailash_mcp_prod.observe.metrics_history import errors_in, requests_in, value_of
from kailash_mcp_prod.observe.metrics_snapshot import Figures

STEP_SECONDS: Final = 2.0
MOST_STEPS: Final = 150

_CACHED: Final = ("hits", "shared", "fetched")
_READS: Final = (*_CACHED, "misses", "bypassed")


class Reading(NamedTuple):
    """What had been counted at one moment, and how things were then."""

    at: float
    requests: int
    errors: int
    times: Histogram
    cached: float
    cacheable: float
    pool_in_use: float
    running: float
    lag_ms: float

    @classmethod
    def of(cls, figures: Figures, lag_seconds: float) -> Reading:
        """Now.

        Args:
            figures: What was counted.
            lag_seconds: How late the event loop is.
        """
        reads = {name: value_of(figures, "mcp_cache_reads", result=name) for name in _READS}
        return cls(
            at=time.time(),
            requests=requests_in(figures),
            errors=errors_in(figures),
            times=figures.times(),
            cached=sum(reads[name] for name in _CACHED),
            cacheable=sum(reads.values()),
            pool_in_use=value_of(figures, "mcp_pool_connections", state="in_use"),
            running=value_of(figures, "mcp_concurrency_running", limit="server"),
            lag_ms=round(lag_seconds * 1000, 2),
        )

    def since(self, earlier: Reading) -> dict[str, Any]:
        """One step of the charts; what nothing is known of is `None`."""
        seconds = max(0.001, self.at - earlier.at)
        times = self.times.since(earlier.times)
        cacheable = self.cacheable - earlier.cacheable
        hits = 100 * ratio(self.cached - earlier.cached, cacheable)
        return {
            "at": round(self.at, 1),
            "calls_per_second": round((self.requests - earlier.requests) / seconds, 2),
            "errors_per_second": round((self.errors - earlier.errors) / seconds, 2),
            "p50_ms": milliseconds(times.quantile(0.5)),
            "p95_ms": milliseconds(times.quantile(0.95)),
            "p99_ms": milliseconds(times.quantile(0.99)),
            "cache_percent": round(hits, 1) if cacheable else None,
            "pool_in_use": int(self.pool_in_use),
            "running": int(self.running),
            "lag_ms": self.lag_ms,
        }


class Series:
    """Takes a reading each two seconds, and keeps the steps of the last five minutes.

    Args:
        read: Takes a reading.
        wanted: Whether anybody wants one now.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Reading]], wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self._read = read
        self._wanted = wanted
        self._latest: Reading | None = None
        self._steps: deque[dict[str, Any]] = deque(maxlen=MOST_STEPS)
        self._task: asyncio.Task[None] | None = None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps, the oldest first."""
        return list(self._steps)

    def start(self) -> None:
        """Begins to take readings."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_reading(), name="dashboard-series")

    async def stop(self) -> None:
        """Ends that, and forgets them."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._latest = None
        self._steps.clear()

    async def step(self) -> None:
        """Takes a reading now."""
        reading = await self._read()
        earlier, self._latest = self._latest, reading
        # A worker that has gone may have taken its figures along for a moment.
        if earlier is not None and reading.requests >= earlier.requests:
            self._steps.append(reading.since(earlier))

    async def _keep_reading(self) -> None:
        while True:
            if self._wanted():
                with suppress(ServerError):
                    await self.step()
            else:
                self._latest = None
            await asyncio.sleep(STEP_SECONDS)
