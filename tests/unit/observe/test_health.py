from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.observe.health import Health

GOOD, BAD = {"status": "healthy"}, {"status": "unhealthy"}


async def report(database: dict[str, Any], redis: dict[str, Any], *, draining: bool) -> Any:
    async def application() -> dict[str, Any]:
        return {"health_status": database["status"], "components": {"database": database}}

    return await Health(application, lambda: {"redis": redis}, lambda: draining).report()


@pytest.mark.parametrize(
    ("database", "redis", "draining", "status"),
    [
        (GOOD, GOOD, False, "healthy"),
        (GOOD, BAD, False, "degraded"),
        (BAD, GOOD, False, "unhealthy"),
        (BAD, BAD, False, "unhealthy"),
        (GOOD, GOOD, True, "draining"),
        (BAD, BAD, True, "draining"),
    ],
)
async def test_what_the_server_can_do_without_only_degrades_it(
    database: dict[str, Any], redis: dict[str, Any], draining: bool, status: str
) -> None:
    assert await report(database, redis, draining=draining) == {
        "health_status": status,
        "components": {"database": database, "redis": redis},
    }
