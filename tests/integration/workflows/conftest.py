"""Workflow sessions on one server over SQLite, and on two replicas over PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.workflows.workflow_world import World, running
from tests.postgres import PostgresServer
from tests.redis_server import running_redis


@pytest_asyncio.fixture(params=["one server", "two replicas"], scope="module", loop_scope="module")
async def servers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
) -> AsyncIterator[World]:
    if request.param == "one server":
        path: Path = tmp_path_factory.mktemp("workflows") / "test.db"
        async with running([f"sqlite:///{path}"]) as found:
            yield found
        return
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server.database())
        redis = stack.enter_context(running_redis())
        async with running([url, url], redis_url=redis.url) as found:
            yield found


@pytest_asyncio.fixture(loop_scope="module")
async def world(servers: World) -> World:
    """The servers with nothing in them."""
    await servers.empty()
    return servers
