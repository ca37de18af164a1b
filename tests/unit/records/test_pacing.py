from __future__ import annotations

import asyncio
import time

import pytest

from kailash_mcp_prod.records.pacing import (
    MAX_STRETCH_SECONDS,
    STEP_ROWS,
    Steps,
    mapped,
    paced,
    straight,
)


def slow(steps: int) -> Steps[int]:
    """Work of which each step takes longer than a stretch may."""
    for _ in range(steps):
        end = time.perf_counter() + 1.1 * MAX_STRETCH_SECONDS
        while time.perf_counter() < end:
            pass
        yield
    return steps


async def turns_during(steps: Steps[int]) -> int:
    """How often another task runs before the work is done."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await paced(steps)
    seen = turns
    other.cancel()
    await asyncio.wait({other})
    return seen


async def test_others_run_after_each_long_stretch() -> None:
    assert await turns_during(slow(5)) == 5


async def test_short_work_is_not_interrupted() -> None:
    def short() -> Steps[int]:
        yield
        return 1

    assert await turns_during(short()) == 0


@pytest.mark.parametrize("count", [0, 1, STEP_ROWS, STEP_ROWS + 1, 1000])
async def test_each_item_is_mapped_in_order(count: int) -> None:
    items = list(range(count))
    doubled = [2 * each for each in items]

    assert await paced(mapped(lambda each: 2 * each, items)) == doubled
    assert straight(mapped(lambda each: 2 * each, items)) == doubled


async def test_what_a_step_raises_ends_the_work() -> None:
    def broken() -> Steps[int]:
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await paced(broken())
    with pytest.raises(ValueError, match="broken"):
        straight(broken())
