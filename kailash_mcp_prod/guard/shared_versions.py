"""What replicas tell each other through Redis: who is writing a table, and when it has changed.

Redis holds a random token for each table, and who is writing it. A token is never
used twice, so one that Redis has lost can't come back to life. While a table is being written, no
replica caches what it reads there: should the writer vanish before it can say how it ended, that
stays so for as long as its write may last.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final

from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError

_TOKEN_SECONDS: Final = 24 * 3600

# For each table its token, and no text while somebody writes it.
_LOOK_UP: Final = """
local now = tonumber(redis.call('TIME')[1])
local found = {}
for i = 1, #KEYS, 2 do
    redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', now)
    local token = ''
    if redis.call('EXISTS', KEYS[i + 1]) == 0 then
        token = redis.call('GET', KEYS[i])
        if not token then
            token = ARGV[1]
            redis.call('SET', KEYS[i], token, 'EX', ARGV[2])
        end
    end
    found[#found + 1] = token
end
return found
"""
_BEGIN: Final = """
local ends = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[4])
for i = 1, #KEYS, 2 do
    redis.call('SET', KEYS[i], ARGV[1], 'EX', ARGV[2])
    redis.call('ZADD', KEYS[i + 1], ends, ARGV[3])
    redis.call('EXPIRE', KEYS[i + 1], tonumber(ARGV[4]) + tonumber(ARGV[2]))
end
"""
_END: Final = """
for i = 1, #KEYS, 2 do
    redis.call('SET', KEYS[i], ARGV[1], 'EX', ARGV[2])
    redis.call('ZREM', KEYS[i + 1], ARGV[3])
end
"""


class SharedVersions:
    """The state of each table, as all replicas on one Redis count it.

    Whoever asks while an answer is on its way is answered by the next one, all together.

    Args:
        redis: The connection.
        writing_seconds: How long a write lasts at most.
    """

    def __init__(self, redis: RedisConnection, *, writing_seconds: float) -> None:
        self._redis = redis
        self._writing_seconds = max(1, round(writing_seconds))
        self._asking: defaultdict[str, list[asyncio.Future[str | None]]] = defaultdict(list)
        self._asker: asyncio.Task[None] | None = None
        self._teller: asyncio.Task[None] | None = None
        # Tables whose change could not be told; nobody caches what he reads there.
        self._untold: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        redis.on_change(self._turned)

    @property
    def is_well(self) -> bool:
        """Whether Redis answers and knows of all writes."""
        return self._redis.is_up and not self._untold

    def on_return(self, listener: Callable[[], None]) -> None:
        """Calls the listener when Redis is back: what was told meanwhile went unheard."""
        self._listeners.append(listener)

    async def token(self, table: str) -> str | None:
        """What changes with each write of the table; `None` when nothing may be cached now."""
        if not self._redis.is_up or table in self._untold:
            return None
        turn = asyncio.get_running_loop().create_future()
        self._asking[table].append(turn)
        if self._asker is None:
            self._asker = asyncio.create_task(self._ask())
        token: str | None = await turn
        return token

    async def begin(self, tables: Collection[str]) -> str:
        """Says that a write begins; returns the name under which it ends."""
        member = _random()
        # Where that can't be said, its end still is, if it can be.
        with suppress(RedisDownError):
            await self._run(_BEGIN, tables, member, self._writing_seconds)
        return member

    async def end(self, tables: Collection[str], member: str | None, *, settled: bool) -> None:
        """Says that a write has ended.

        Args:
            tables: What it has changed.
            member: What `begin` returned.
            settled: Whether it is known to have ended. Otherwise it counts as running on.
        """
        try:
            if settled or member is None:
                await self._run(_END, tables, member or "")
            else:
                # From now on, as its own process waits too; nor is it said that it was heard of.
                await self._run(_BEGIN, tables, member, self._writing_seconds)
        except RedisDownError:
            self._untold.update(tables)

    async def stop(self) -> None:
        """Ends what is running."""
        for task in (self._asker, self._teller):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        for turns in self._asking.values():
            _settle(turns, None)
        self._asking.clear()

    async def _ask(self) -> None:
        """Asks for all tables that somebody waits for, until nobody does."""
        asked: dict[str, list[asyncio.Future[str | None]]] = {}
        try:
            while self._asking:
                asked, self._asking = dict(self._asking), defaultdict(list)
                tables = list(asked)
                try:
                    found = await self._run(_LOOK_UP, tables)
                except RedisDownError:
                    found = [b""] * len(tables)
                for table, token in zip(tables, found, strict=True):
                    # Read before a write of ours that could not be told, it means nothing.
                    good = None if table in self._untold else _text(token) or None
                    _settle(asked[table], good)
        finally:
            self._asker = None
            for turns in asked.values():
                _settle(turns, None)

    async def _run(self, script: str, tables: Collection[str], *more: str | int) -> Any:
        keys = [
            self._redis.key("cache", "{tables}", kind, table)
            for table in tables
            for kind in ("token", "writers")
        ]
        arguments = (_random(), _TOKEN_SECONDS, *more)
        return await self._redis.run(
            lambda client: client.eval(script, len(keys), *keys, *map(str, arguments))
        )

    def _turned(self, up: bool) -> None:
        if not up:
            return
        for listener in self._listeners:
            listener()
        if self._untold and self._teller is None:
            self._teller = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Tells of the writes that could not be told of when they ended."""
        try:
            while self._untold and self._redis.is_up:
                tables = frozenset(self._untold)
                try:
                    await self._run(_END, tables, "")
                except RedisDownError:
                    return
                self._untold -= tables
        finally:
            self._teller = None


def _settle(turns: list[asyncio.Future[str | None]], token: str | None) -> None:
    for turn in turns:
        if not turn.done():
            turn.set_result(token)


def _text(token: bytes | str) -> str:
    return token if isinstance(token, str) else token.decode()


def _random() -> str:
    return os.urandom(12).hex()
