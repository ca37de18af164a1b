"""Circuits of several replicas, with a Redis between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_circuits import SharedCircuits
from tests.redis_server import RedisServer


class Replica:
    """The circuits of one process."""

    def __init__(self, url: str, recovery_seconds: float) -> None:
        self.redis = RedisConnection(url, "app", operation_seconds=5, probe_seconds=0.02)
        self.breakers = Breakers(2, recovery_seconds)
        self.circuits = SharedCircuits(self.breakers, self.redis, pause_seconds=0.01)

    def fail(self) -> None:
        for _ in range(2):
            try:
                with self.breakers.around("database", "a"):
                    raise UnavailableError("Away.")
            except UnavailableError:
                pass

    def work(self) -> None:
        with self.breakers.around("database", "a"):
            pass

    @property
    def is_open(self) -> bool:
        return self.breakers.seconds_left("database") > 0


@asynccontextmanager
async def running(*made: Replica) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for each in made:
            await each.redis.start()
            stack.push_async_callback(each.redis.stop)
            await each.circuits.start()
            stack.push_async_callback(each.circuits.stop)
        yield


async def until(condition: Callable[[], bool]) -> None:
    """What replicas tell each other comes with no event to wait for, so it is looked for."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


async def test_others_learn_that_a_circuit_is_open_those_that_come_later_too(
    redis_server: RedisServer,
) -> None:
    one, other, late = (Replica(redis_server.url, 60) for _ in range(3))
    async with running(one, other):
        one.fail()
        await until(lambda: other.is_open)
        assert 55 < other.breakers.seconds_left("database") <= 60

        async with running(late):
            assert late.is_open


async def test_the_first_probe_that_goes_through_closes_it_for_all(
    redis_server: RedisServer,
) -> None:
    quick, slow = Replica(redis_server.url, 0.2), Replica(redis_server.url, 60)
    async with running(quick, slow):
        slow.fail()
        await until(lambda: quick.is_open)
        # Its own circuit is to be tried sooner.
        quick.breakers.close_from_afar("database")
        quick.fail()
        await until(lambda: not quick.is_open)
        quick.work()
        third = Replica(redis_server.url, 60)
        async with running(third):
            assert not third.is_open


async def test_what_was_closed_elsewhere_before_its_time_closes_here(
    redis_server: RedisServer,
) -> None:
    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(one, other):
        one.fail()
        await until(lambda: other.is_open)
        await one.redis.run(lambda client: client.delete("app:circuits"))

        await until(lambda: not other.is_open)
        assert one.is_open


async def test_without_redis_each_decides_for_itself_and_tells_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(one, other):
        redis_server.stop()
        await until(lambda: not one.redis.is_up and not other.redis.is_up)
        one.fail()
        assert one.is_open

        redis_server.start()
        await until(lambda: other.is_open)
