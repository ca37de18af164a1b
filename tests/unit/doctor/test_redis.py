from __future__ import annotations

import json
import sys
from dataclasses import asdict

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor.finding import Finding, Status
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.doctor.redis import check_redis
from tests.redis_server import RedisServer


async def check(url: str | None) -> list[Finding]:
    config = ServerConfig.model_construct(redis_url=url)
    return await check_redis(Patient(config, None, None, {}))


async def test_a_redis_that_answers_is_good_and_keeps_our_time(redis_server: RedisServer) -> None:
    found, clock = await check(redis_server.url)

    assert found.message.startswith("Redis ")
    assert (clock.check, clock.status) == ("clock (redis)", Status.OK)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:hunter2@127.0.0.1:1/0", "can't be reached (ConnectionError)"),
        ("http://user:hunter2@host", "is no address of a Redis"),
    ],
)
async def test_one_that_does_not_is_said_without_its_address(url: str, said: str) -> None:
    [found] = await check(url)

    assert found.status is Status.FAILED
    assert said in found.message
    assert "hunter2" not in json.dumps(asdict(found))


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    [found] = await check("redis://127.0.0.1:1/0")

    assert found.fix == "pip install 'kailash-mcp-prod[redis]'"


async def test_without_an_address_none_is_needed() -> None:
    [found] = await check(None)

    assert found.status is Status.SKIPPED
