"""Spans that end: a block of work that others may cancel, and a channel that closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self


class CancelScope:
    """Lets others cancel the work inside a `with` block without ending the task around it.

    The cancellation ends at the block's edge; `cancelled` tells the code after it. A cancellation
    of the task itself passes through, as with `asyncio.timeout`.

    Args:
        loop: The running loop, for those who have it at hand: Python 3.11 asks the system for the
            process's id whenever it looks for the loop.

    Example:
        ```python
        with CancelScope() as scope:
            on_disconnect(scope.cancel)
            await work()
        if scope.cancelled:
            ...
        ```
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.cancelled = False
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._earlier_requests = 0

    def cancel(self) -> None:
        """Cancel the block; does nothing when it has ended or was cancelled before."""
        if self._task is not None and not self.cancelled:
            self.cancelled = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("A CancelScope needs a running task.")
        self._task = task
        self._earlier_requests = task.cancelling()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task, self._task = self._task, None
        if task is None or not self.cancelled:
            return False
        outstanding = task.uncancel()
        return exc_type is asyncio.CancelledError and outstanding <= self._earlier_requests


class Lifetime:
    """The span during which a channel is open; callbacks run once, when it ends."""

    def __init__(self) -> None:
        self.ended = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    def on_end(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at the end, at once if it has passed. Returns a function that forgets it."""
        if self.ended:
            callback()
            return lambda: None
        key = object()
        self._callbacks[key] = callback
        return lambda: self._forget(key)

    def end(self) -> None:
        """End the span; later calls do nothing."""
        if self.ended:
            return
        self.ended = True
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            callback()

    def _forget(self, key: object) -> None:
        self._callbacks.pop(key, None)
