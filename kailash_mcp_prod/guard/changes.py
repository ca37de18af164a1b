"""In what state each table is: what was read before a write is never taken for what is now.

Each write changes the state twice: before it begins, and when it has ended, whatever came of it. A
read is kept for the state in which it began.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.cache_entries import Stamp
from kailash_mcp_prod.guard.shared_versions import SharedVersions
from kailash_mcp_prod.records.completion import to_the_end


class Changes:
    """Hears of all writes of this process, and through Redis of those of other replicas.

    Args:
        shared: What the replicas tell each other; `None` where there is only this process.
        doubt_seconds: How long a write may still come to its end in the database after its call
            has ended without knowing. So long nothing of its tables is cached.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        shared: SharedVersions | None = None,
        *,
        doubt_seconds: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._doubt_seconds = doubt_seconds
        self._clock = clock
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._doubtful: dict[str, float] = {}
        self._affected: Mapping[str, frozenset[str]] = {}

    def learn(self, affected: Mapping[str, frozenset[str]]) -> None:
        """Takes note of what else a write may change.

        Args:
            affected: By table, the tables in which the database itself may change rows then.
        """
        self._affected = affected

    def on_doubt(self, listener: Callable[[], None]) -> None:
        """Calls the listener when nothing that was read before may be used any more."""
        if self._shared is not None:
            self._shared.on_return(listener)

    @property
    def is_shared(self) -> bool:
        """Whether other replicas write too."""
        return self._shared is not None

    @property
    def is_well(self) -> bool:
        """Whether writes of other replicas are heard of."""
        return self._shared is None or self._shared.is_well

    async def stop(self) -> None:
        """Ends what is running in the background."""
        if self._shared is not None:
            await self._shared.stop()

    async def stamp(self, table: str) -> Stamp | None:
        """The state of a table now; `None` when that can't be said."""
        # Before the shared one: what happens meanwhile must not go unnoticed.
        version = self._versions[table]
        if self._doubtful and self._is_doubtful(table):
            return None
        token = "" if self._shared is None else await self._shared.token(table)
        return None if token is None else (version, token)

    def stamp_here(self, table: str) -> Stamp | None:
        """The state of a table now, if nobody else has to be asked; `None` otherwise."""
        if self._shared is not None or (self._doubtful and self._is_doubtful(table)):
            return None
        return self._versions[table], ""

    def is_current(self, table: str, stamp: Stamp) -> bool:
        """Whether this process has seen no write since; saves to keep what nobody will use."""
        return self._versions[table] == stamp[0]

    @asynccontextmanager
    async def writing(self, table: str) -> AsyncIterator[None]:
        """Stands around a write of the table, from before it begins until after its end."""
        tables = self._affected.get(table) or frozenset((table,))
        self._count(tables)
        member = None if self._shared is None else await self._shared.begin(tables)
        settled = False
        try:
            yield
            settled = True
        except ServerError as error:
            settled = (error.details or {}).get("outcome") != "unknown"
            raise
        finally:
            if not settled:
                # The database may still be storing it.
                until = self._clock() + self._doubt_seconds
                self._doubtful.update(dict.fromkeys(tables, until))
            self._count(tables)
            if self._shared is not None:
                # To its end, even if the call is being cancelled: the write is done.
                await to_the_end(self._shared.end(tables, member, settled=settled))

    def _count(self, tables: Collection[str]) -> None:
        for table in tables:
            self._versions[table] += 1

    def _is_doubtful(self, table: str) -> bool:
        until = self._doubtful.get(table)
        if until is None:
            return False
        if until > self._clock():
            return True
        del self._doubtful[table]
        return False
