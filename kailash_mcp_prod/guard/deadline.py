"""A limit on how long a block may take."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Cancels what runs in its block after a time, and then raises `TimeoutError`.

    As `asyncio.timeout`, which takes several times as long to begin and end: on Python 3.11 it
    asks the system for the process's id each time it looks for the loop.

    Args:
        seconds: How long the block may take.

    Example:
        ```python
        with Deadline(30):
            await work()
        ```
    """

    __slots__ = ("_earlier", "_seconds", "_task", "_timer", "expired")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.expired = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A Deadline needs a running task.")
        self._task = task
        self._earlier = task.cancelling()
        self._timer = loop.call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self.expired:
            return
        ours_alone = self._task.uncancel() <= self._earlier
        if ours_alone and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
