"""What goes wrong, and when: a schedule that its seed alone decides."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.postgres import PostgresServer
from tests.redis_server import RedisServer
from tests.soak.replicas import Replica

Fault = Callable[[random.Random], Awaitable[None]]


@dataclass(slots=True)
class Faults:
    """Makes things fail.

    Args:
        postgres: The database.
        redis: What the replicas share.
        victim: The replica that is killed.
        seed: Of the schedule.
    """

    postgres: PostgresServer
    redis: RedisServer
    victim: Replica
    seed: int
    happened: list[tuple[float, str]] = field(default_factory=list)

    async def happen(self, ending: asyncio.Event, every: float) -> None:
        """Lets one after the other happen until the end.

        Args:
            ending: Set at the end; what has failed is well again when this returns.
            every: How many seconds lie between two, on average.
        """
        chance = random.Random(self.seed)
        began = time.monotonic()
        kinds: list[tuple[str, Fault]] = []
        while not ending.is_set():
            try:
                await asyncio.wait_for(ending.wait(), chance.uniform(0.5, 1.5) * every)
            except TimeoutError:
                # Each kind once before any comes again.
                kinds = kinds or chance.sample(list(self._kinds().items()), len(self._kinds()))
                name, fault = kinds.pop()
                self.happened.append((round(time.monotonic() - began, 1), name))
                await fault(chance)

    def _kinds(self) -> dict[str, Fault]:
        return {
            "the database crashes": self._crash_database,
            "the database is slow": self._hold_up_database,
            "Redis crashes": self._crash_redis,
            "Redis hangs": self._hold_up_redis,
            "a replica is killed": self._kill_replica,
            "a replica is restarted": self._restart_replica,
        }

    async def _crash_database(self, chance: random.Random) -> None:
        await asyncio.to_thread(self.postgres.crash)
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(self.postgres.start_again)

    async def _hold_up_database(self, chance: random.Random) -> None:
        with self.postgres.held_up():
            await asyncio.sleep(chance.uniform(0.2, 2))

    async def _crash_redis(self, chance: random.Random) -> None:
        await asyncio.to_thread(self.redis.stop)
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(self.redis.start)

    async def _hold_up_redis(self, chance: random.Random) -> None:
        self.redis.hold_up()
        try:
            await asyncio.sleep(chance.uniform(0.2, 2))
        finally:
            self.redis.let_go()

    async def _kill_replica(self, _chance: random.Random) -> None:
        await asyncio.to_thread(self.victim.kill)
        await asyncio.to_thread(self.victim.start)

    async def _restart_replica(self, _chance: random.Random) -> None:
        await asyncio.to_thread(self.victim.stop)
        await asyncio.to_thread(self.victim.start)
