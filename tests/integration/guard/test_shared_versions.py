"""What replicas hear of each other's writes, over a Redis that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_versions import SharedVersions
from tests.redis_server import RedisServer


@asynccontextmanager
async def replicas(
    url: str, count: int = 2
) -> AsyncIterator[list[tuple[Changes, RedisConnection]]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            redis = RedisConnection(url, "app", operation_seconds=2, probe_seconds=0.1)
            await redis.start()
            stack.push_async_callback(redis.stop)
            shared = SharedVersions(redis, writing_seconds=1)
            stack.push_async_callback(shared.stop)
            found.append((Changes(shared, doubt_seconds=1), redis))
        yield found


async def turned(redis: RedisConnection, up: bool) -> None:
    event = asyncio.Event()
    end = redis.on_change(lambda state: event.set() if state is up else None)
    async with asyncio.timeout(20):
        while redis.is_up is not up:
            await event.wait()
    end()


async def test_a_write_changes_the_state_for_all_replicas(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url) as [(here, _), (there, _)]:
        before = await there.stamp("t"), await there.stamp("u")
        async with here.writing("t"):
            pass

        assert await there.stamp("t") != before[0]
        assert await there.stamp("u") == before[1]


async def test_nothing_is_cached_of_what_another_replica_writes(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url) as [(here, _), (there, _)]:
        async with here.writing("t"):
            assert await there.stamp("t") is None
            assert await there.stamp("u") is not None
        assert await there.stamp("t") is not None


async def test_a_write_that_may_go_on_is_over_after_a_while(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url) as [(here, _), (there, _)]:
        with pytest.raises(UnavailableError):
            async with here.writing("t"):
                raise UnavailableError("lost", details={"outcome": "unknown"})
        assert await there.stamp("t") is None

        async with asyncio.timeout(20):
            while await there.stamp("t") is None:  # noqa: ASYNC110 - only time tells
                await asyncio.sleep(0.05)


async def test_a_write_that_may_go_on_counts_although_its_begin_went_unheard(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url) as [(here, redis), (there, _)]:
        redis._mark_down(TimeoutError())
        with suppress(UnavailableError):
            async with here.writing("t"):
                await turned(redis, True)
                raise UnavailableError("lost", details={"outcome": "unknown"})

        assert await there.stamp("t") is None


async def test_those_who_ask_together_are_answered_together(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url, 1) as [(changes, redis)]:
        await changes.stamp("t0")
        before = (await redis.run(lambda client: client.info("commandstats")))["cmdstat_eval"]
        stamps = await asyncio.gather(*(changes.stamp(f"t{each % 10}") for each in range(100)))
        after = (await redis.run(lambda client: client.info("commandstats")))["cmdstat_eval"]

    assert None not in stamps
    assert after["calls"] - before["calls"] <= 2


async def test_without_redis_nothing_is_cached_and_nothing_fails(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url) as [(here, redis), (there, other)]:
        before = await there.stamp("t")
        redis_server.stop()
        await asyncio.gather(turned(redis, False), turned(other, False))
        async with here.writing("t"):
            assert await here.stamp("t") is None
        assert await there.stamp("t") is None
        assert not here.is_well

        redis_server.start()
        await asyncio.gather(turned(redis, True), turned(other, True))
        async with asyncio.timeout(20):
            while not here.is_well:  # noqa: ASYNC110 - nobody else is told
                await asyncio.sleep(0.01)
        assert await there.stamp("t") not in {None, before}


async def test_what_redis_has_lost_does_not_come_back(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url) as [(here, redis), _]:
        before = await here.stamp("t")
        await redis.run(lambda client: client.flushall())

        assert await here.stamp("t") not in {None, before}


async def test_a_write_that_went_unheard_is_told_once_when_redis_is_back(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url) as [(here, redis), (there, _)]:
        before = await there.stamp("t"), await there.stamp("u")
        # Redis keeps its memory: only the way there was cut.
        redis._mark_down(TimeoutError())
        async with here.writing("t"):
            pass
        assert not here.is_well
        async with asyncio.timeout(20):
            while not here.is_well:  # noqa: ASYNC110 - nobody else is told
                await asyncio.sleep(0.01)

        assert await there.stamp("t") not in {None, before[0]}
        assert await there.stamp("u") == before[1]
        told = [await scripts_run(redis) for _ in range(20)]
        assert told == told[:1] * 20


async def scripts_run(redis: RedisConnection) -> int:
    found = await redis.run(lambda client: client.info("commandstats"))
    return int(found["cmdstat_eval"]["calls"])


async def test_replicas_of_other_releases_find_what_is_told_under_the_same_names(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url, 1) as [(changes, redis)]:
        async with changes.writing("t"):
            names = await redis.run(lambda client: client.keys("*:cache:*"))
            assert set(names) == {b"app:cache:{tables}:token:t", b"app:cache:{tables}:writers:t"}
        assert await redis.run(lambda client: client.keys("*:writers:*")) == []
        [token] = await redis.run(lambda client: client.mget("app:cache:{tables}:token:t"))
        stamp = await changes.stamp("t")
        assert stamp is not None
        assert stamp[1] == token.decode()


async def test_whoever_asks_while_it_stops_is_told_that_nothing_is_known(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url, 1) as [(changes, _)]:
        redis_server.hold_up()
        asking = []
        for table in ("asked", "waits for its turn"):
            asking.append(asyncio.create_task(changes.stamp(table)))
            for _ in range(5):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await changes.stop()
            assert await asyncio.gather(*asking) == [None, None]
        redis_server.let_go()


async def test_what_was_asked_before_a_write_that_went_unheard_means_nothing(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url, 1) as [(changes, redis)]:
        await changes.stamp("t")
        redis_server.hold_up()
        asking = asyncio.create_task(changes.stamp("t"))
        for _ in range(10):
            await asyncio.sleep(0)
        redis._mark_down(TimeoutError())
        async with changes.writing("t"):
            pass
        redis_server.let_go()

        assert await asking is None
