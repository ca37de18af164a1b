"""Makes large cached results smaller with zstd, and the very large ones off the event loop."""

from __future__ import annotations

import asyncio
from typing import Final

import zstandard

THRESHOLD_BYTES: Final = 4096
"""Shorter results are left as they are."""

_LEVEL: Final = 1
_HERE_BYTES: Final = 64 * 1024
_WORTHWHILE: Final = 0.9


class Compression:
    """Compresses and decompresses with zstd."""

    def __init__(self) -> None:
        # For the event loop's thread alone: neither may be used by two at once.
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()

    async def compress(self, body: bytes) -> tuple[bytes, int]:
        """The bytes to keep, and the length of the plain ones; 0 where they are plain."""
        if len(body) < THRESHOLD_BYTES:
            return body, 0
        if len(body) <= _HERE_BYTES:
            smaller = self._compressor.compress(body)
        else:
            smaller = await asyncio.to_thread(_compress, body)
        return (smaller, len(body)) if len(smaller) < _WORTHWHILE * len(body) else (body, 0)

    async def decompress(self, body: bytes, plain_size: int) -> bytes:
        """The plain bytes again.

        Args:
            body: What `compress` gave.
            plain_size: Their length.
        """
        if plain_size <= _HERE_BYTES:
            return self._decompressor.decompress(body, plain_size)
        return await asyncio.to_thread(_decompress, body, plain_size)


def _compress(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def _decompress(body: bytes, plain_size: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body, plain_size)
