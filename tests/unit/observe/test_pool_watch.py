from __future__ import annotations

import pytest

from kailash_mcp_prod.observe import pool_watch
from kailash_mcp_prod.observe.pool_watch import EXHAUSTED_SECONDS, PoolWatch
from kailash_mcp_prod.records.sql.database import PoolUsage


def test_a_pool_is_too_small_when_calls_wait_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, queued = 100.0, 0
    usage: PoolUsage | None = None
    monkeypatch.setattr(pool_watch.time, "monotonic", lambda: now)
    pool = PoolWatch(lambda: usage, lambda: queued)
    assert pool.component() == {
        "status": "healthy",
        "in_use": 0,
        "idle": 0,
        "limit": 0,
        "waiting": 0,
    }

    usage, queued = PoolUsage(2, 0, 2, 1), 3
    assert pool.component() == {
        "status": "healthy",
        "in_use": 2,
        "idle": 0,
        "limit": 2,
        "waiting": 4,
    }
    now += EXHAUSTED_SECONDS
    assert pool.component()["status"] == "degraded"
    usage = PoolUsage(1, 1, 2, 0)
    queued = 0
    pool.look()
    usage, queued = PoolUsage(2, 0, 2, 0), 1
    assert pool.component()["status"] == "healthy"
