"""Whether a database answers, asked at most once a second."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from kailash_mcp_prod.errors import ServerError

_PING_SECONDS: Final = 2.0
_KNOWN_SECONDS: Final = 1.0


class Pingable(Protocol):
    """What can be asked for an answer."""

    async def ping(self) -> None:
        """Raises a `ServerError` when there is none."""


class Pulse:
    """Feels whether a database answers; whoever asks at the same time waits for one answer.

    Args:
        stores: What there is to ask; `None` while there is nothing, which counts as no answer.
    """

    def __init__(self, stores: Callable[[], Pingable | None]) -> None:
        self._stores = stores
        self.forget()

    def forget(self) -> None:
        """Begins anew, on whatever event loop asks next."""
        self._asking = asyncio.Lock()
        self._asked_at = self._known_at = -math.inf
        self._answered = False

    async def answers(self, *, anew: bool = False) -> bool:
        """Whether the database answers, as seen within the last second.

        Args:
            anew: Only what it is asked from now on counts.
        """
        wanted_at = time.monotonic()
        async with self._asking:
            now = time.monotonic()
            stale = self._asked_at < wanted_at if anew else now - self._known_at >= _KNOWN_SECONDS
            if stale:
                self._asked_at = now
                self._answered = await self._ask()
                # When the question ends: who waited for it must not ask once more.
                self._known_at = time.monotonic()
            return self._answered

    async def _ask(self) -> bool:
        stores = self._stores()
        if stores is None:
            return False
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await stores.ping()
        except (ServerError, TimeoutError):
            return False
        return True
