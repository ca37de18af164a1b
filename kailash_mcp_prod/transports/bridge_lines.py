"""What the bridge writes to its client: one message a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from kailash_mcp_prod.transports.stdio_streams import ByteSink


class ClientLines:
    """Writes messages as lines, one after the other.

    Args:
        sink: Where they go.
        lost: Called when nobody reads them any more.
    """

    def __init__(self, sink: ByteSink, lost: Callable[[], None]) -> None:
        self._sink = sink
        self._lost = lost
        self._lock = asyncio.Lock()

    async def write(self, message: bytes) -> None:
        """Write a JSON text."""
        # Within JSON texts there are no raw line ends, so those between are space.
        line = message.strip().replace(b"\r", b" ").replace(b"\n", b" ")
        async with self._lock:
            try:
                await self._sink.write(line + b"\n")
            except OSError:
                self._lost()

    async def fail(self, message_id: str | int | None, code: int, text: str) -> None:
        """Write an error in answer to a message."""
        error = {"code": code, "message": text}
        await self.write(msgspec.json.encode({"jsonrpc": "2.0", "id": message_id, "error": error}))

    async def close(self) -> None:
        """Flush what is buffered, and give the descriptor back."""
        await self._sink.close()
