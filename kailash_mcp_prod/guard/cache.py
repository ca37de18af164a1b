"""The cache of reads: one reader asks the database, the others wait for its answer.

What was read is kept in this process's memory, and behind it, if the replicas share their results,
in Redis.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.cache_entries import Entries, Entry, Key, Stamp
from kailash_mcp_prod.guard.changes import Changes

if TYPE_CHECKING:
    from kailash_mcp_prod.guard.compression import Compression
    from kailash_mcp_prod.guard.shared_values import SharedValues

Load = Callable[[], Awaitable[dict[str, Any]]]

MAX_VALUE_BYTES: Final = 1024 * 1024
"""Longer results are not kept: to decode them would hold the event loop for too long."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """What the cache has done so far, and holds now.

    `shared` are reads that waited for the same read of somebody else, `fetched` those that were
    found in Redis; `bypassed` ones could not be cached when they came: a write's outcome was not
    known yet, or Redis did not answer. `bytes` are those of the entries with all that belongs to
    them, `stored_bytes` those of the results alone, `plain_bytes` those before compression.
    """

    hits: int
    shared: int
    fetched: int
    misses: int
    bypassed: int
    entries: int
    bytes: int
    evictions: int
    stored_bytes: int = 0
    plain_bytes: int = 0

    @property
    def hit_ratio(self) -> float:
        """The share of reads that did not reach the database; 0 when there were none."""
        answered = self.hits + self.shared + self.fetched
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
        values: Results that the replicas keep for each other; `None` where each keeps its own.
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
        values: SharedValues | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changes = changes
        self._entries = Entries(max_bytes)
        self._ttl_seconds = ttl_seconds
        self._compression = compression
        self._values = values
        self._clock = clock
        self._flights: dict[tuple[Key, Stamp], list[asyncio.Future[bytes | None]]] = {}
        self._hits = self._shared = self._fetched = self._misses = self._bypassed = 0
        self._doubts = 0
        changes.on_doubt(self._forget)

    async def read(self, key: Key, table: str, load: Load, shape: bytes = b"") -> dict[str, Any]:
        """The result of a read, from the cache or else by `load`.

        Args:
            key: What is read, by whom.
            table: The table whose rows it shows, which nobody else's rows can change.
            load: Asks the database.
            shape: What else the result depends on that replicas may not have in common.

        Raises:
            ServerError: What `load` raises; it is not cached.
        """
        while True:
            doubts = self._doubts
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
                flight = _Flight(key, table, stamp, shape, doubts)
                return await self._lead(flight, load)
            turn = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            body = await turn
            if body is not None:
                self._shared += 1
                decoded: dict[str, Any] = _decoder.decode(body)
                return decoded
            # Whoever asked was stopped; one of those who waited asks in its place.

    def known(self, key: Key, table: str, longest: int) -> bytes | None:
        """The result of a read as JSON, if it is here and nobody has to be asked about it.

        Args:
            key: As for `read`.
            table: As for `read`.
            longest: How many bytes it may have.
        """
        stamp = self.changes.stamp_here(table)
        entry = None if stamp is None else self._entries.get(key, stamp, self._clock())
        if entry is None or entry.plain_size or len(entry.body) > longest:
            return None
        self._hits += 1
        return entry.body

    def snapshot(self) -> CacheSnapshot:
        """The figures of this moment."""
        return CacheSnapshot(
            hits=self._hits,
            shared=self._shared,
            fetched=self._fetched,
            misses=self._misses,
            bypassed=self._bypassed,
            entries=len(self._entries),
            bytes=self._entries.bytes,
            evictions=self._entries.evictions,
            stored_bytes=self._entries.stored_bytes,
            plain_bytes=self._entries.plain_bytes,
        )

    async def _lead(self, flight: _Flight, load: Load) -> dict[str, Any]:
        waiting = self._flights[flight.key, flight.stamp] = []
        body = None
        try:
            body = await self._fetch(flight)
            found = body is not None
            if body is None:
                self._misses += 1
                result = await load()
                body = _encoded(result)
            else:
                self._fetched += 1
                result = _decoder.decode(body)
        except ServerError as error:
            for turn in waiting:
                if not turn.done():
                    turn.set_exception(copy.copy(error))
            raise
        finally:
            del self._flights[flight.key, flight.stamp]
            for turn in waiting:
                if not turn.done():
                    turn.set_result(body)
        if not found and body is not None and len(body) <= MAX_VALUE_BYTES:
            await self._keep(flight, body)
        return result

    async def _fetch(self, flight: _Flight) -> bytes | None:
        """What a replica has kept of this read in Redis, which is kept here from now on too."""
        if self._values is None:
            return None
        found = await self._values.find(self._name(self._values, flight))
        if found is None:
            return None
        body, plain_size, seconds_left = found
        if plain_size and self._compression is None:
            # Kept by a replica that compresses; this one does not.
            return None
        self._put(flight, body, plain_size, self._clock() + seconds_left)
        if not plain_size or self._compression is None:
            return body
        return await self._compression.decompress(body, plain_size)

    async def _keep(self, flight: _Flight, body: bytes) -> None:
        expires_at = self._clock() + self._ttl_seconds
        plain_size = 0
        if self._compression is not None:
            body, plain_size = await self._compression.compress(body)
        if self._put(flight, body, plain_size, expires_at) and self._values is not None:
            await self._values.keep(self._name(self._values, flight), body, plain_size)

    def _put(self, flight: _Flight, body: bytes, plain_size: int, expires_at: float) -> bool:
        """Keeps it in memory, and says true, unless nobody would use it."""
        stamp = flight.stamp
        if flight.doubts != self._doubts or not self.changes.is_current(flight.table, stamp):
            return False
        self._entries.put(
            flight.key, body, plain_size=plain_size, stamp=stamp, expires_at=expires_at
        )
        return True

    @staticmethod
    def _name(values: SharedValues, flight: _Flight) -> bytes:
        tool, fingerprint, arguments = flight.key
        texts = tool, fingerprint, flight.table, flight.stamp[1]
        return values.name((*(text.encode() for text in texts), arguments, flight.shape))

    def _forget(self) -> None:
        self._doubts += 1
        self._entries.clear()

    async def _decoded(self, entry: Entry) -> dict[str, Any]:
        body = entry.body
        if entry.plain_size and self._compression is not None:
            body = await self._compression.decompress(body, entry.plain_size)
        decoded: dict[str, Any] = _decoder.decode(body)
        return decoded


class _Flight(NamedTuple):
    """A read that is under way, on behalf of all who want the same."""

    key: Key
    table: str
    stamp: Stamp
    shape: bytes
    doubts: int


def _encoded(result: dict[str, Any]) -> bytes | None:
    try:
        return _encoder.encode(result)
    except ValueError:
        # An integer of thousands of digits, or half a character; the caller's transport decides.
        return None
