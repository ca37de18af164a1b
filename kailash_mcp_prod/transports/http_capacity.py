"""How much runs at once, and the means to wait for its end or to cut it short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol import CancelScope


class _Places:
    """A number of places, each taken for a block."""

    __slots__ = ("_free", "_refusal")

    def __init__(self, count: int, refusal: str) -> None:
        self._free = count
        self._refusal = refusal

    def __enter__(self) -> None:
        if self._free <= 0:
            raise OverloadedError(self._refusal)
        self._free -= 1

    def __exit__(self, *_failure: object) -> None:
        self._free += 1


class _Running(CancelScope):
    """A block of running work."""

    def __init__(self, capacity: Capacity) -> None:
        super().__init__()
        self._capacity = capacity

    def __enter__(self) -> Self:
        super().__enter__()
        self._capacity.begun(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._capacity.ended(self)
        return super().__exit__(exc_type, exc, traceback)


class Capacity:
    """Counts the requests and event streams of one transport.

    `request` and `stream` are entered for a block that takes a place, and raise `OverloadedError`
    when none is free.

    Args:
        requests: How many requests may run at once.
        streams: How many event streams may be open.
    """

    def __init__(self, requests: int, streams: int) -> None:
        self.request = _Places(requests, "Too many requests are running; try again later.")
        self.stream = _Places(streams, "Too many event streams are open; try again later.")
        self._running: set[CancelScope] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def running(self) -> CancelScope:
        """A block that counts as running work, which `cancel_all` reaches."""
        return _Running(self)

    def begun(self, scope: CancelScope) -> None:
        """Count a block."""
        self._running.add(scope)
        self._idle.clear()

    def ended(self, scope: CancelScope) -> None:
        """Count it no longer."""
        self._running.discard(scope)
        if not self._running:
            self._idle.set()

    def cancel_all(self) -> None:
        """Cancel all running work."""
        for scope in tuple(self._running):
            scope.cancel()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until nothing runs; false when something still does after that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


@contextmanager
def cancel_at(expires_at: float | None, scope: CancelScope) -> Iterator[None]:
    """Cancel the scope if this Unix time comes while the block runs."""
    if expires_at is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(expires_at - time.time(), scope.cancel)
    try:
        yield
    finally:
        timer.cancel()
