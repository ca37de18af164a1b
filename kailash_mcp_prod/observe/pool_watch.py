"""Whether the database's connections are enough, seen over a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from kailash_mcp_prod.observe.health import DEGRADED, HEALTHY, Component

EXHAUSTED_SECONDS: Final = 1.0


class Usage(Protocol):
    """The connections at one moment; `records.sql.database.PoolUsage` is one."""

    @property
    def in_use(self) -> int:
        """How many are working."""

    @property
    def idle(self) -> int:
        """How many are open beside."""

    @property
    def limit(self) -> int:
        """How many there may be."""

    @property
    def waiting(self) -> int:
        """How many calls wait for one."""


class _Now(NamedTuple):
    in_use: int
    idle: int
    limit: int
    waiting: int


class PoolWatch:
    """Tells a moment in which all connections are in use from a pool that is too small.

    Args:
        usage: The connections; `None` while there are none.
        queued: How many calls wait for their turn before they ask for a connection.
    """

    def __init__(self, usage: Callable[[], Usage | None], queued: Callable[[], int]) -> None:
        self._usage = usage
        self._queued = queued
        self._exhausted_since: float | None = None

    def look(self) -> None:
        """Takes note of how it is now; to be called several times a second."""
        now = self._now()
        if now.waiting == 0 or now.in_use < now.limit:
            self._exhausted_since = None
        elif self._exhausted_since is None:
            self._exhausted_since = time.monotonic()

    def component(self) -> Component:
        """Its component in the report on health."""
        self.look()
        since = self._exhausted_since
        short = since is not None and time.monotonic() - since >= EXHAUSTED_SECONDS
        return {"status": DEGRADED if short else HEALTHY, **self._now()._asdict()}

    def _now(self) -> _Now:
        found = self._usage()
        if found is None:
            return _Now(0, 0, 0, 0)
        return _Now(found.in_use, found.idle, found.limit, found.waiting + self._queued())
