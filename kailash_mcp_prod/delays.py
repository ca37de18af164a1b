"""Many waits of the same length on one timer of the event loop."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Late(Protocol):
    """What waits, and is told once when its time is over."""

    def late(self) -> None:
        """Hears that its time is over."""


class Delays:
    """Waits of the same length.

    Args:
        seconds: Their length.

    Example:
        ```python
        waiting = delays.on(loop)
        waiting.add(request)
        try:
            await work()
        finally:
            waiting.discard(request)
        ```
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: Waiting | None = None
        self._all: list[Waiting] = []

    def on(self, loop: asyncio.AbstractEventLoop) -> Waiting:
        """Those of one running loop."""
        if self._last is None or self._last.loop is not loop:
            self._last = self._of(loop)
        return self._last

    def _of(self, loop: asyncio.AbstractEventLoop) -> Waiting:
        self._all = [each for each in self._all if not each.loop.is_closed()]
        for each in self._all:
            if each.loop is loop:
                return each
        waiting = Waiting(loop, self._seconds)
        self._all.append(waiting)
        return waiting


class Waiting:
    """Tells what has waited for a time and was not discarded meanwhile.

    As `loop.call_later` for each, for a fraction of what that takes: nearly everything that waits
    for such a time is done long before.

    Args:
        loop: The running loop.
        seconds: The time.
    """

    __slots__ = ("_armed", "_due", "_seconds", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self._seconds = seconds
        # In the order in which they began, and so in that in which their times are over.
        self._due: dict[Late, float] = {}
        self._armed = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, waiting: Late) -> None:
        """Begins to wait; the same thing once at a time."""
        self._due[waiting] = self.loop.time() + self._seconds
        if not self._armed:
            self._armed = True
            self.loop.call_later(self._seconds, self._tell)

    def discard(self, waiting: Late) -> None:
        """Waits no longer; does nothing for what does not wait."""
        self._due.pop(waiting, None)

    def _tell(self) -> None:
        now = self.loop.time()
        late = []
        self._armed = False
        for waiting, due in self._due.items():
            if due > now:
                self._armed = True
                self.loop.call_later(due - now, self._tell)
                break
            late.append(waiting)
        for waiting in late:
            # One of them may have discarded the next.
            if self._due.pop(waiting, None) is not None:
                waiting.late()
