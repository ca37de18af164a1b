"""The owner of the connections to Redis, before a Redis that comes and goes."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod import guard
from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError
from tests.redis_server import RedisServer, running_redis


@asynccontextmanager
async def connected(
    url: str, *, operation_seconds: float = 5
) -> AsyncIterator[tuple[RedisConnection, asyncio.Queue[bool]]]:
    """A connection, and what its listeners hear."""
    redis = RedisConnection(url, "app", operation_seconds=operation_seconds, probe_seconds=0.02)
    heard: asyncio.Queue[bool] = asyncio.Queue()
    redis.on_change(heard.put_nowait)
    await redis.start()
    try:
        yield redis, heard
    finally:
        await redis.stop()


async def ping(redis: RedisConnection) -> bool:
    return bool(await redis.run(lambda client: client.ping()))


async def until(heard: asyncio.Queue[bool], state: bool) -> None:
    async with asyncio.timeout(10):
        while await heard.get() is not state:
            pass


async def test_keys_carry_the_prefix_and_values_come_back(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, _):
        key = redis.key("cache", "a")

        await redis.run(lambda client: client.set(key, b"1"))

        assert key == "app:cache:a"
        assert await redis.run(lambda client: client.get("app:cache:a")) == b"1"
        assert redis.health()["status"] == "healthy"
    with pytest.raises(RedisDownError):
        await ping(redis)


async def test_a_redis_that_stops_is_noticed_without_a_call_and_so_is_its_return(
    redis_server: RedisServer,
) -> None:
    async with connected(redis_server.url) as (redis, heard):
        for _ in range(2):
            await asyncio.gather(*(ping(redis) for _ in range(20)))
            redis_server.stop()
            await until(heard, False)
            assert redis.health()["state"] == "down"
            with pytest.raises(RedisDownError):
                await ping(redis)

            redis_server.start()
            await until(heard, True)
            assert redis.health()["state"] == "up"
            assert await asyncio.gather(*(ping(redis) for _ in range(20))) == [True] * 20


async def test_a_call_that_finds_redis_gone_says_so_and_the_next_does_not_ask(
    redis_server: RedisServer,
) -> None:
    async with connected(redis_server.url) as (redis, heard):
        redis_server.stop()

        with pytest.raises(RedisDownError):
            await ping(redis)

        assert heard.get_nowait() is False
        asked = []
        with pytest.raises(RedisDownError):
            await redis.run(lambda client: asked.append(client) or client.ping())
        assert asked == []


async def test_a_redis_that_hangs_holds_up_no_call_for_longer_than_an_operation_may_take(
    redis_server: RedisServer,
) -> None:
    async with connected(redis_server.url, operation_seconds=0.1) as (redis, heard):
        await ping(redis)
        redis_server.hold_up()
        begin = time.monotonic()

        outcomes = await asyncio.gather(*(ping(redis) for _ in range(200)), return_exceptions=True)

        assert time.monotonic() - begin < 2
        assert all(isinstance(each, RedisDownError) for each in outcomes)
        redis_server.let_go()
        await until(heard, True)
        assert await ping(redis)


async def test_what_fails_is_not_tried_again() -> None:
    """Whoever asks gets on without Redis at once."""
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        redis = RedisConnection(f"redis://127.0.0.1:{port}", "app", probe_seconds=3600)
        await redis.start()
        assert not redis.is_up
        assert connections == 1
        await redis.stop()


async def test_it_looks_by_a_task_of_its_own_until_it_is_stopped(
    redis_server: RedisServer,
) -> None:
    def probers() -> list[str]:
        return [name for task in asyncio.all_tasks() if "prober" in (name := task.get_name())]

    async with connected(redis_server.url) as (redis, _):
        assert probers() == ["redis-prober"]
    assert probers() == []
    assert redis.is_up is False
    await redis.stop()


async def test_who_does_not_listen_any_more_hears_nothing(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, heard):
        gone: list[bool] = []
        end = redis.on_change(gone.append)
        end()
        end()
        redis_server.stop()
        await until(heard, False)

    assert gone == []


async def test_more_calls_than_connections_take_turns(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, _):
        assert await asyncio.gather(*(ping(redis) for _ in range(300))) == [True] * 300
        clients = await redis.run(lambda client: client.client_list())

        assert len(clients) <= 32


async def test_a_redis_that_is_away_at_the_start_is_found_when_it_comes(
    redis_server: RedisServer,
) -> None:
    redis_server.stop()
    async with connected(redis_server.url) as (redis, heard):
        assert not redis.is_up

        redis_server.start()
        await until(heard, True)
        assert await ping(redis)


async def test_who_looks_finds_out_without_waiting_for_the_next_probe(
    redis_server: RedisServer,
) -> None:
    redis = RedisConnection(redis_server.url, "app", operation_seconds=5, probe_seconds=3600)
    await redis.look()
    assert not redis.is_up
    await redis.start()
    try:
        redis_server.stop()
        await redis.look()
        assert not redis.is_up

        redis_server.start()
        await redis.look()
        assert redis.is_up
    finally:
        await redis.stop()


async def test_a_look_leaves_one_small_key_for_a_second(redis_server: RedisServer) -> None:
    redis = RedisConnection(redis_server.url, "app", operation_seconds=5, probe_seconds=3600)
    await redis.start()
    try:
        [(name, left)] = await redis.run(names_and_milliseconds)
        assert re.fullmatch(rb"app:probe:[0-9a-f]{2}", name)
        assert 0 < left <= 1000
    finally:
        await redis.stop()


async def names_and_milliseconds(client: Any) -> list[tuple[bytes, int]]:
    return [(name, await client.pttl(name)) for name in await client.keys("*")]


async def test_health_tells_the_state_and_for_how_long(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, heard):
        up = redis.health()
        redis_server.stop()
        await until(heard, False)
        down = redis.health()

    for report, status, state in ((up, "healthy", "up"), (down, "unhealthy", "down")):
        seconds = report.pop("seconds_in_state")
        assert report == {"status": status, "state": state}
        assert isinstance(seconds, float)
        assert 0 <= seconds < 60


async def test_a_redis_that_takes_no_writes_counts_as_down(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, heard):
        await redis.run(lambda client: client.config_set("maxmemory", "1"))

        await until(heard, False)
        assert not redis.is_up


async def test_a_cancelled_call_leaves_redis_up(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (redis, _):
        entered = asyncio.Event()

        async def wait(client: object) -> None:
            entered.set()
            await asyncio.Event().wait()

        call = asyncio.create_task(redis.run(wait))
        await entered.wait()
        call.cancel()
        await asyncio.wait({call})

        assert call.cancelled()
        assert redis.is_up
        assert await ping(redis)


async def test_whenever_a_call_is_cancelled_it_ends_so_and_no_other_gets_its_answer(
    redis_server: RedisServer,
) -> None:
    async with connected(redis_server.url) as (redis, _):

        async def echo(number: int) -> bool:
            return await redis.run(lambda client: client.echo(number)) == b"%d" % number

        for steps in range(12):
            calls = [asyncio.create_task(echo(number)) for number in range(40)]
            for _ in range(steps):
                await asyncio.sleep(0)
            victims = [call for call in calls[::5] if call.cancel()]
            await asyncio.wait(calls)

            assert all(call.cancelled() for call in victims)
            assert all(call.result() for call in calls if call not in victims)


async def test_it_is_logged_once_that_redis_is_away_and_of_what_kind_the_failure_was(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(redis_server.url) as (redis, heard):
        redis_server.stop()
        await asyncio.gather(*(ping(redis) for _ in range(3)), return_exceptions=True)
        redis_server.start()
        await until(heard, True)
        redis_server.stop()
        await redis.look()

    events = [vars(record) for record in caplog.records]
    assert [each["message"] for each in events] == ["redis_down", "redis_up", "redis_down"]
    assert [events[at]["reason"] for at in (0, 2)] == ["ConnectionError"] * 2


async def test_neither_password_nor_address_is_ever_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with running_redis("--requirepass", "hunter2") as server:
        right = server.url.replace("://", "://:hunter2@")
        wrong = server.url.replace("://", "://:hunter3@")
        async with connected(right) as (redis, _):
            assert await ping(redis)
        async with connected(wrong) as (redis, _):
            assert not redis.is_up
        server.stop()
        async with connected(right) as (redis, _):
            assert not redis.is_up

    assert "redis_down" in caplog.text
    for secret in ("hunter2", "hunter3"):
        assert secret not in caplog.text


def test_without_the_package_the_operator_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)

    with pytest.raises(ConfigError) as refused:
        RedisConnection("redis://localhost", "app")

    told = "redis_url needs the package redis: install kailash-mcp-prod[redis]."
    assert str(refused.value) == told


def test_nothing_of_redis_is_imported_before_it_is_needed() -> None:
    """So a server without a Redis does not pay for it."""
    at_the_top = [
        ast.unparse(statement)
        for module in Path(guard.__path__[0]).glob("*.py")
        for statement in ast.parse(module.read_text()).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
    ]

    assert [line for line in at_the_top if line.split()[1].partition(".")[0] == "redis"] == []
