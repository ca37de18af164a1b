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
        self._slots = asyncio.Semaphore(running)
        self._admitted = 0
        self._most_admitted = 2 * running

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a place to run in.

        Raises:
            OverloadedError: Too many calls are waiting already.
        """
        if self._admitted >= self._most_admitted:
            raise OverloadedError(
                "The server is busy and did not start this call. Try again.", retry_after_seconds=1
            )
        self._admitted += 1
        try:
            async with self._slots:
                yield
        finally:
            self._admitted -= 1
