"""How many calls run at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque

from kailash_mcp_prod.errors import OverloadedError


class ConcurrencyLimit:
    """Lets a number of calls run and as many again wait; the rest are refused at once.

    Those that wait come in their order.

    Args:
        running: How many calls run at the same time.

    Example:
        ```python
        async with limit.slot():
            await work()
        ```
    """

    def __init__(self, running: int) -> None:
        self._most = running
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def slot(self) -> ConcurrencyLimit:
        """A place to run in, entered for a block; one may have to be waited for.

        Raises:
            OverloadedError: On entering, when too many calls are waiting already.
        """
        return self

    async def __aenter__(self) -> None:
        if self._running < self._most:
            self._running += 1
            return
        if len(self._waiting) >= self._most:
            raise OverloadedError(
                "The server is busy and did not start this call. Try again.", retry_after_seconds=1
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The place was handed over already.
                self._leave()
            else:
                self._waiting.remove(turn)
            raise

    async def __aexit__(self, *_failure: object) -> None:
        self._leave()

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1
