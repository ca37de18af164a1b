"""How late the event loop is: what blocks it, or keeps it busy, holds up everybody."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.25
WINDOW_SECONDS: Final = 5.0


class LoopLag:
    """Asks the loop four times a second to do something, and sees how late it is.

    Args:
        at_ticks: What else is to be looked at each time.
    """

    def __init__(self, *at_ticks: Callable[[], None]) -> None:
        self._at_ticks = at_ticks
        self._recent = deque[float](maxlen=round(WINDOW_SECONDS / TICK_SECONDS))
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def latest(self) -> float:
        """By how many seconds it was late the last time; more while it is late now."""
        late = time.monotonic() - self._due if self._timer is not None else 0.0
        return max(late, self._recent[-1] if self._recent else 0.0)

    @property
    def worst(self) -> float:
        """By how many seconds it was late at most within the last five seconds."""
        return max(self.latest, max(self._recent, default=0.0))

    def start(self) -> None:
        """Begins to look at the running loop."""
        self._recent.clear()
        self._next()

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._due = time.monotonic() + TICK_SECONDS
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._recent.append(max(0.0, time.monotonic() - self._due))
        self._next()
        for look in self._at_ticks:
            look()
