from __future__ import annotations

import asyncio
import time

from kailash_mcp_prod.observe.health_host import LATE_SECONDS, event_loop
from kailash_mcp_prod.observe.loop_lag import TICK_SECONDS, LoopLag


async def test_a_loop_that_is_held_up_is_seen_now_and_for_a_while() -> None:
    looked = asyncio.Event()
    lag = LoopLag(looked.set)
    lag.start()
    try:
        assert event_loop(lag)["status"] == "healthy"
        # The loop itself is what is blocked here.
        time.sleep(TICK_SECONDS + LATE_SECONDS + 0.05)  # noqa: ASYNC251
        assert lag.latest > LATE_SECONDS
        assert event_loop(lag)["status"] == "degraded"
        await looked.wait()
        looked.clear()
        await looked.wait()
        assert lag.latest < LATE_SECONDS < lag.worst
        assert event_loop(lag)["status"] == "degraded"
    finally:
        lag.stop()

    lag.start()
    assert lag.worst < LATE_SECONDS
    lag.stop()
    assert lag.latest < LATE_SECONDS
