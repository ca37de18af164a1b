"""The guards of two servers with one Redis."""

from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import RateLimitedError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.guard.breaker import Outcome
from kailash_mcp_prod.guard.redis import RedisDownError
from tests.redis_server import RedisServer

ALICE = Principal("alice", frozenset())


async def test_servers_on_one_redis_share_rates_and_circuits_until_they_stop(
    redis_server: RedisServer,
) -> None:
    config = ServerConfig(
        enable_auth=False,
        redis_url=redis_server.url,
        rate_limit_per_minute=1,
        circuit_breaker_failure_threshold=1,
    )
    one, other = Guard(config), Guard(config)
    await one.start()
    assert one.components()["rate_limits"] == {"status": "healthy", "storage": "redis"}
    await one.rates.take(ALICE)
    one.breakers.tell("database", 0, Outcome.FAILED)
    # What is to be told is told by the end.
    await one.stop()

    await other.start()
    with pytest.raises(RateLimitedError):
        await other.rates.take(ALICE)
    assert other.breakers.seconds_left("database") > 0
    await other.stop()
    for guard in (one, other):
        assert guard.redis is not None
        with pytest.raises(RedisDownError):
            guard.redis.client()
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    assert tasks.isdisjoint({"redis-prober", "shared-circuits"})
