"""How many calls run at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kailash_mcp_prod.errors import OverloadedError


class ConcurrencyLimit:
    """Lets a number of calls run and as many again wait; the rest are refused at once.

    Args:
        running: How many calls run at the same time.
    """

    def __init__(self, running: int) -> None:
        self._running = running
        self._slots = asyncio.Semaphore(running)
        self._admitted = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a place to run in.

        Raises:
            OverloadedError: Too many calls are waiting already.
        """
        if self._admitted >= 2 * self._running:
            raise OverloadedError(
                "The server is busy and did not start this call. Try again.", retry_after_seconds=1
            )
        if not self._admitted:
            # A semaphore belongs to the event loop of its first wait; a server may start anew.
            self._slots = asyncio.Semaphore(self._running)
        self._admitted += 1
        try:
            async with self._slots:
                yield
        finally:
            self._admitted -= 1
