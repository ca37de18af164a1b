"""Which circuits are open, told to the other replicas through Redis and learned from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SECONDS_BETWEEN_LOOKS = 1.0

# The circuits are a sorted set by the time when they may be tried again, in milliseconds. The
# arguments are circuits with the milliseconds for which they are open; 0 for those that closed.
_EXCHANGE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 1, #ARGV, 2 do
  local open = tonumber(ARGV[at + 1])
  if open > 0 then
    redis.call('ZADD', KEYS[1], now + open, ARGV[at])
  else
    redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = redis.call('ZRANGE', KEYS[1], 0, 999, 'WITHSCORES')
for at = 2, #found, 2 do
  found[at] = found[at] - now
end
return found
"""


class SharedCircuits:
    """Keeps the circuits of this process in step with those of the others.

    What turns here is told at once, and once a second it looks what has turned elsewhere. Each
    replica still sends a probe of its own when the time is over; the first one that goes through
    closes the circuit for all. While Redis is away, every replica decides for itself.

    Args:
        breakers: The circuits.
        redis: The connection.
        pause_seconds: How often it looks.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        breakers: Breakers,
        redis: RedisConnection,
        *,
        pause_seconds: float = _SECONDS_BETWEEN_LOOKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breakers = breakers
        self._redis = redis
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._news: dict[str, float] = {}
        self._from_afar: set[str] = set()
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        breakers.on_turn(self._turned)

    async def start(self) -> None:
        """Learns what is open, and goes on learning."""
        self._told = asyncio.Event()
        await self._exchange()
        self._task = asyncio.create_task(self._keep_in_step(), name="shared-circuits")

    async def stop(self) -> None:
        """Ends that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def _turned(self, name: str, seconds: float) -> None:
        self._news[name] = self._clock() + seconds
        self._told.set()

    async def _keep_in_step(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._told.wait()
            self._told.clear()
            await self._exchange()

    async def _exchange(self) -> None:
        # News that can't be told now is told later, as far as it is still true then.
        told = dict(self._news)
        arguments: list[str | int] = []
        for name, until in told.items():
            arguments += [name, max(0, int((until - self._clock()) * 1000))]
        try:
            found = await self._redis.run(lambda client: self._evaluate(client, arguments))
        except RedisDownError:
            return
        for name, until in told.items():
            if self._news.get(name) == until:
                del self._news[name]
        for name in self._from_afar - found.keys():
            self._from_afar.discard(name)
            # One whose time is over was not closed by anybody; it wants a probe.
            if self._breakers.seconds_left(name) > self._pause_seconds:
                self._breakers.close_from_afar(name)
        for name, seconds in found.items():
            if name not in self._news and self._breakers.open_from_afar(name, seconds):
                self._from_afar.add(name)

    async def _evaluate(self, client: Redis, arguments: list[str | int]) -> dict[str, float]:
        found: list[Any] = await client.eval(_EXCHANGE, 1, self._redis.key("circuits"), *arguments)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {name.decode(): float(left) / 1000 for name, left in pairs}
