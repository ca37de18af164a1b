"""Messages that wait for a stream to carry them to the client."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

_DEFAULT_LIMIT: Final = 256


class Outbox:
    """A bounded queue of encoded messages, each taken by exactly one reader.

    A message equal to one that still waits is merged with it: a client that has not yet heard
    that the tools changed need not hear it twice. When full, the oldest message is dropped.

    Args:
        limit: How many messages may wait.
    """

    def __init__(self, limit: int = _DEFAULT_LIMIT) -> None:
        self._waiting: deque[bytes] = deque(maxlen=limit)
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, message: bytes) -> None:
        """Add a message; ignored once the box is closed."""
        if self._closed or message in self._waiting:
            return
        self._waiting.append(message)
        self._wake.set()

    async def get(self) -> bytes | None:
        """Take the oldest message, waiting for one; `None` when the box is closed and empty."""
        while not self._waiting:
            if self._closed:
                return None
            await self._wake.wait()
        message = self._waiting.popleft()
        if not self._waiting and not self._closed:
            self._wake.clear()
        return message

    def close(self) -> None:
        """Wake all readers: they take what is left, then get `None`."""
        self._closed = True
        self._wake.set()
