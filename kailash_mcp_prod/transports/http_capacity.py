"""How much runs at once, and the means to wait for its end or to cut it short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol import CancelScope


class Capacity:
    """Counts the requests and event streams of one transport.

    Args:
        requests: How many requests may run at once.
        streams: How many event streams may be open.
    """

    def __init__(self, requests: int, streams: int) -> None:
        self._free_requests = requests
        self._free_streams = streams
        self._running: set[CancelScope] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Take a request's place for the block.

        Raises:
            OverloadedError: None is free.
        """
        if self._free_requests <= 0:
            raise OverloadedError("Too many requests are running; try again later.")
        self._free_requests -= 1
        try:
            yield
        finally:
            self._free_requests += 1

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Take an event stream's place for the block.

        Raises:
            OverloadedError: None is free.
        """
        if self._free_streams <= 0:
            raise OverloadedError("Too many event streams are open; try again later.")
        self._free_streams -= 1
        try:
            yield
        finally:
            self._free_streams += 1

    @contextmanager
    def running(self) -> Iterator[CancelScope]:
        """Count the block as running work that `cancel_all` reaches."""
        with CancelScope() as scope:
            self._running.add(scope)
            self._idle.clear()
            try:
                yield scope
            finally:
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
