"""A limit on how long a block may take."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from kailash_mcp_prod.delays import Delays


class Deadline:
    """Cancels what runs in its block after a time, and then raises `TimeoutError`.

    As `asyncio.timeout`, which takes several times as long to begin and end: on Python 3.11 it
    asks the system for the process's id each time it looks for the loop.

    Args:
        delays: Waits of the time that the block may take.

    Example:
        ```python
        half_a_minute = Delays(30)
        with Deadline(half_a_minute):
            await work()
        ```
    """

    __slots__ = ("_delays", "_earlier", "_task", "_waiting", "expired")

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self.expired = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A Deadline needs a running task.")
        self._task = task
        self._earlier = task.cancelling()
        self._waiting = self._delays.on(loop)
        self._waiting.add(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.discard(self)
        if not self.expired:
            return
        ours_alone = self._task.uncancel() <= self._earlier
        if ours_alone and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def late(self) -> None:
        """Cancels the block."""
        self.expired = True
        self._task.cancel()
