"""News between two replicas: through Redis, and without it when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.sessions import collaboration_news
from kailash_mcp_prod.sessions.collaboration_news import WorkspaceNews
from kailash_mcp_prod.sessions.collaboration_store import TABLES, WorkspaceStore
from kailash_mcp_prod.sessions.identity import Caller
from kailash_mcp_prod.state.database import StateDatabase
from tests.redis_server import RedisServer

OWNER = Principal("key:owner", frozenset({"*"}))
STRANGER = Principal("key:stranger", frozenset({"*"}))
ME = Caller.of(OWNER)


@dataclass
class Replica:
    """What one of several servers has of collaboration."""

    news: WorkspaceNews
    store: WorkspaceStore
    redis: RedisConnection | None
    heard: asyncio.Queue[str]
    listen_no_more: Callable[[], None]

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self.heard.get()


@asynccontextmanager
async def replica(url: str, redis_url: str | None = None) -> AsyncIterator[Replica]:
    database = StateDatabase(url)
    await database.prepare(TABLES)
    redis = None
    if redis_url is not None:
        redis = RedisConnection(redis_url, "app", operation_seconds=5, probe_seconds=0.02)
        await redis.start()

    async def opened() -> WorkspaceStore:
        return store

    news = WorkspaceNews(opened, redis)
    store = WorkspaceStore(database, news.changed)
    heard: asyncio.Queue[str] = asyncio.Queue()

    def listen(uris: Sequence[str], audience: Callable[[Principal], bool]) -> None:
        assert audience(OWNER)
        assert not audience(STRANGER)
        for uri in uris:
            heard.put_nowait(uri)

    end = news.subscribe(listen)
    try:
        yield Replica(news, store, redis, heard, end)
    finally:
        end()
        await news.stop()
        if redis is not None:
            await redis.stop()
        await database.close()


async def test_without_redis_a_replica_looks_for_what_others_did(sqlite_url: str) -> None:
    async with replica(sqlite_url) as one, replica(sqlite_url) as other:
        made = await one.store.create(ME, "w", {}, 60)
        for number in range(3):
            await one.store.board.write(ME, made, "k", str(number))
            assert await one.next() == await other.next() == f"collaboration://{made}"


async def test_with_redis_news_does_not_wait_for_a_look(
    sqlite_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collaboration_news, "LOOK_SECONDS", 3600)
    monkeypatch.setattr(collaboration_news, "_LOOK_SECONDS_WITH_REDIS", 3600)
    url = redis_server.url
    async with replica(sqlite_url, url) as one, replica(sqlite_url, url) as other:
        assert other.news._channel is not None
        while not other.news._channel.hears:  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(0.01)
        made = await one.store.create(ME, "w", {}, 60)
        for number in range(20):
            await one.store.board.write(ME, made, "k", str(number))
            assert await other.next() == f"collaboration://{made}"
        async with asyncio.timeout(10):
            while one.heard.qsize() < 20:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert one.heard.qsize() == 20, "what was done here is told once, though Redis says it too"


async def test_news_survives_a_redis_that_comes_and_goes(
    sqlite_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collaboration_news, "_LOOK_SECONDS_WITH_REDIS", 0.1)
    url = redis_server.url
    async with replica(sqlite_url, url) as one, replica(sqlite_url, url) as other:
        made = await one.store.create(ME, "w", {}, 60)
        for turn in range(4):
            if turn % 2:
                redis_server.stop()
            elif turn:
                redis_server.start()
            await one.store.board.write(ME, made, "k", str(turn))
            assert await other.next() == f"collaboration://{made}"


async def test_who_begins_to_listen_hears_nothing_of_what_was_before(sqlite_url: str) -> None:
    async with replica(sqlite_url) as one:
        made = await one.store.create(ME, "old", {}, 60)
        await one.store.board.write(ME, made, "k", "1")
        await one.next()
        async with one.store._database.begin() as connection:
            await connection.exec_driver_sql(
                "UPDATE mcp_workspaces SET changed_at = changed_at - 5"
            )
        async with replica(sqlite_url) as late:
            new = await one.store.create(ME, "new", {}, 60)
            await one.store.board.write(ME, new, "k", "1")
            assert await late.next() == f"collaboration://{new}"
            assert late.heard.empty()


async def test_nothing_runs_while_nobody_listens(sqlite_url: str) -> None:
    async with replica(sqlite_url) as one:

        def running() -> set[str]:
            return {task.get_name() for task in asyncio.all_tasks()}

        assert "workspace-watcher" in running()
        one.listen_no_more()
        await asyncio.sleep(0)
        assert "workspace-watcher" not in running()
