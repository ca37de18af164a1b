"""The cache of reads: one reader asks the database, the others wait for its answer."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.cache_entries import Entries, Entry, Key, Stamp
from kailash_mcp_prod.guard.changes import Changes

if TYPE_CHECKING:
    from kailash_mcp_prod.guard.compression import Compression

Load = Callable[[], Awaitable[dict[str, Any]]]

MAX_VALUE_BYTES: Final = 1024 * 1024
"""Longer results are not kept: to decode them would hold the event loop for too long."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """What the cache has done so far, and holds now.

    `shared` are reads that waited for the same read of somebody else; `bypassed` ones could not
    be cached when they came: a write's outcome was not known yet, or Redis did not answer.
    """

    hits: int
    shared: int
    misses: int
    bypassed: int
    entries: int
    bytes: int
    evictions: int

    @property
    def hit_ratio(self) -> float:
        """The share of reads that did not reach the database; 0 when there were none."""
        answered = self.hits + self.shared
        reads = answered + self.misses + self.bypassed
        return answered / reads if reads else 0.0


class ReadCache:
    """Results of reads in this process's memory, as the JSON that they are.

    An answer is never older than the last write that `changes` was told of. It may be as old as
    `ttl_seconds` where something else has written.

    Args:
        changes: Knows in what state each table is.
        max_bytes: How much is kept, with everything that belongs to it.
        ttl_seconds: How long a result is used.
        compression: How large results are made smaller; `None` leaves them as they are.
        clock: Seconds that only ever grow.

    Example:
        ```python
        result = await cache.read((tool, fingerprint, arguments), "companies", ask_database)
        ```
    """

    def __init__(
        self,
        changes: Changes,
        *,
        max_bytes: int,
        ttl_seconds: float,
        compression: Compression | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changes = changes
        self._entries = Entries(max_bytes)
        self._ttl_seconds = ttl_seconds
        self._compression = compression
        self._clock = clock
        self._flights: dict[tuple[Key, Stamp], list[asyncio.Future[bytes | None]]] = {}
        self._hits = self._shared = self._misses = self._bypassed = 0
        changes.on_doubt(self._entries.clear)

    async def read(self, key: Key, table: str, load: Load) -> dict[str, Any]:
        """The result of a read, from the cache or else by `load`.

        Args:
            key: What is read, by whom.
            table: The table whose rows it shows, which nobody else's rows can change.
            load: Asks the database.

        Raises:
            ServerError: What `load` raises; it is not cached.
        """
        while True:
            stamp = await self.changes.stamp(table)
            if stamp is None:
                self._bypassed += 1
                return await load()
            entry = self._entries.get(key, stamp, self._clock())
            if entry is not None:
                self._hits += 1
                return await self._decoded(entry)
            waiting = self._flights.get((key, stamp))
            if waiting is None:
                self._misses += 1
                return await self._lead(key, table, stamp, load)
            turn = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            body = await turn
            if body is not None:
                self._shared += 1
                decoded: dict[str, Any] = _decoder.decode(body)
                return decoded
            # Whoever asked was stopped; one of those who waited asks in its place.

    def snapshot(self) -> CacheSnapshot:
        """The figures of this moment."""
        return CacheSnapshot(
            hits=self._hits,
            shared=self._shared,
            misses=self._misses,
            bypassed=self._bypassed,
            entries=len(self._entries),
            bytes=self._entries.bytes,
            evictions=self._entries.evictions,
        )

    async def _lead(self, key: Key, table: str, stamp: Stamp, load: Load) -> dict[str, Any]:
        waiting = self._flights[key, stamp] = []
        body = None
        try:
            result = await load()
            body = _encoded(result)
        except ServerError as error:
            for turn in waiting:
                if not turn.done():
                    turn.set_exception(copy.copy(error))
            raise
        finally:
            del self._flights[key, stamp]
            for turn in waiting:
                if not turn.done():
                    turn.set_result(body)
        if body is not None and len(body) <= MAX_VALUE_BYTES:
            await self._keep(key, table, stamp, body)
        return result

    async def _keep(self, key: Key, table: str, stamp: Stamp, body: bytes) -> None:
        expires_at = self._clock() + self._ttl_seconds
        plain_size = 0
        if self._compression is not None:
            body, plain_size = await self._compression.compress(body)
        if self.changes.is_current(table, stamp):
            self._entries.put(key, body, plain_size=plain_size, stamp=stamp, expires_at=expires_at)

    async def _decoded(self, entry: Entry) -> dict[str, Any]:
        body = entry.body
        if entry.plain_size and self._compression is not None:
            body = await self._compression.decompress(body, entry.plain_size)
        decoded: dict[str, Any] = _decoder.decode(body)
        return decoded


def _encoded(result: dict[str, Any]) -> bytes | None:
    try:
        return _encoder.encode(result)
    except ValueError:
        # An integer of thousands of digits, or half a character; the caller's transport decides.
        return None
