"""Which circuits are open, and who tries one again, in step with the other replicas over Redis."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.circuit_scripts import EXCHANGE, TAKE
from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SECONDS_BETWEEN_LOOKS = 1.0
_LEASE_SECONDS = 5.0


class SharedCircuits:
    """Keeps the circuits of this process in step with those of the others.

    What turns here is told at once, and once a second it looks what has turned elsewhere. When the
    time of an open circuit is over, one replica sends the probe for all: the one that gets the
    lease. It gives the lease back with what the probe found out, and renews it as long as that
    takes; should it die, the lease ends by itself. While Redis is away, every replica decides for
    itself. A circuit that is closed costs no call a word with Redis.

    Args:
        breakers: The circuits.
        redis: The connection.
        pause_seconds: How often it looks.
        lease_seconds: For how long a replica that has died keeps the others from a probe.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        breakers: Breakers,
        redis: RedisConnection,
        *,
        pause_seconds: float = _SECONDS_BETWEEN_LOOKS,
        lease_seconds: float = _LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breakers = breakers
        self._redis = redis
        self._pause_seconds = pause_seconds
        self._lease_seconds = lease_seconds
        self._clock = clock
        # Until when a circuit is open; `None` for one that closed.
        self._news: dict[str, float | None] = {}
        # What Redis, as long as it has not lost its memory, will only forget when it closes.
        self._known: set[str] = set()
        self._memory = ""
        self._held: dict[str, str] = {}
        # By token, the circuit of a lease that is over, and when it ends by itself.
        self._over: dict[str, tuple[str, float]] = {}
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        breakers.share_with(self)

    async def start(self) -> None:
        """Learns what is open, and goes on learning."""
        self._told = asyncio.Event()
        await self._exchange()
        self._task = asyncio.create_task(self._keep_in_step(), name="shared-circuits")

    async def stop(self) -> None:
        """Ends that, and says what is still to be said."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            if self._news or self._over:
                await self._exchange()

    def turned(self, name: str, seconds: float) -> None:
        """Takes note of a circuit that opened, or closed where the seconds are 0."""
        self._news[name] = self._clock() + seconds if seconds else None
        self._told.set()

    async def probe_waits(self, name: str) -> float:
        """Takes the lease for a probe; else says after how many seconds to try again."""
        token = secrets.token_hex(12)
        # Before it is asked for: it may have been given although the answer got lost.
        self._held[name] = token
        # What Redis does not name is closed only if Redis was told that it was open.
        memory = self._memory if name in self._known and name not in self._news else ""
        keys = self._circuits, self._lease(name)
        pause = round(self._pause_seconds * 1000)
        arguments = name, token, self._lease_milliseconds, memory, pause
        try:
            answer = await self._redis.run(
                lambda client: client.eval(TAKE, len(keys), *keys, *arguments)
            )
        except RedisDownError:
            return 0
        if answer == 0:
            return 0
        if self._held.get(name) == token:
            del self._held[name]
        if answer < 0:
            self._breakers.close_from_afar(name, although_probing=True)
            return 0
        return float(answer) / 1000

    def probe_ended(self, name: str) -> None:
        """Gives the lease back, after what the probe found out."""
        token = self._held.pop(name, None)
        if token is not None:
            self._over[token] = name, self._clock() + self._lease_seconds
            self._told.set()

    @property
    def _circuits(self) -> str:
        return self._redis.key("{circuits}", "open")

    def _lease(self, name: str) -> str:
        return self._redis.key("{circuits}", "probe", name)

    @property
    def _lease_milliseconds(self) -> int:
        return max(1, round(self._lease_seconds * 1000))

    async def _keep_in_step(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._told.wait()
            self._told.clear()
            await self._exchange()

    async def _exchange(self) -> None:
        # News that can't be told now is told later, as far as it is still true then.
        told, over, held = dict(self._news), dict(self._over), dict(self._held)
        try:
            memory, found = await self._redis.run(
                lambda client: self._evaluate(client, told, over, held)
            )
        except RedisDownError:
            now = self._clock()
            self._over = {token: of for token, of in self._over.items() if of[1] > now}
            return
        for name, until in told.items():
            if name in self._news and self._news[name] == until:
                del self._news[name]
        for token in over:
            self._over.pop(token, None)
        if memory == self._memory:
            for name in self._known - found.keys() - self._news.keys():
                self._breakers.close_from_afar(name)
        else:
            self._remind(found)
        self._memory, self._known = memory, set(found)
        for name, seconds in found.items():
            if name not in self._news:
                self._breakers.open_from_afar(name, max(0, seconds))

    def _remind(self, found: dict[str, float]) -> None:
        """Tells a Redis that has lost its memory what it has known."""
        for name, seconds in self._breakers.unclosed().items():
            if name not in found and name not in self._news:
                self._news[name] = self._clock() + seconds
                self._told.set()

    async def _evaluate(
        self,
        client: Redis,
        told: dict[str, float | None],
        over: dict[str, tuple[str, float]],
        held: dict[str, str],
    ) -> tuple[str, dict[str, float]]:
        now = self._clock()
        keys = [self._circuits]
        keys += [self._lease(name) for name, _ in over.values()]
        keys += [self._lease(name) for name in held]
        # What `ZSCORE` says as it was said to it: not so long that it is rounded, and later than
        # any time.
        memory = random.randrange(2**51, 2**52)  # noqa: S311 - to be told apart, not guessed
        arguments: list[str | int] = [memory, self._lease_milliseconds, len(over), len(held)]
        arguments += [*over, *held.values()]
        for name, until in told.items():
            arguments += [name, -1 if until is None else max(0, int((until - now) * 1000))]
        answer: list[Any] = await client.eval(EXCHANGE, len(keys), *keys, *arguments)
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        found = {name.decode(): float(left) / 1000 for name, left in pairs}
        return answer[0].decode(), found
