from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.observe.dashboard.fresh import Fresh


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


async def test_all_who_ask_within_a_second_get_one_answer() -> None:
    clock, made = Clock(), 0
    fresh = Fresh(1.0, clock)
    go = asyncio.Event()

    async def make() -> int:
        nonlocal made
        made += 1
        await go.wait()
        return made

    first = [asyncio.create_task(fresh.get("a", make)) for _ in range(3)]
    await asyncio.sleep(0)
    first[0].cancel()
    go.set()

    assert await asyncio.gather(*first[1:]) == [1, 1]
    clock.now += 0.9
    assert await fresh.get("a", make) == 1
    assert await fresh.get("b", make) == 2
    clock.now += 0.2
    assert await fresh.get("a", make) == 3
    await fresh.close()


async def test_a_failure_is_told_to_all_and_not_kept_for_long() -> None:
    clock = Clock()
    fresh = Fresh(1.0, clock)

    async def fail() -> None:
        raise UnavailableError("Away.")

    async def work() -> str:
        return "there"

    for _ in range(2):
        with pytest.raises(UnavailableError):
            await fresh.get("a", fail)
    clock.now += 1
    assert await fresh.get("a", work) == "there"


async def test_what_is_looked_up_ends_with_it() -> None:
    fresh = Fresh()
    waiting = asyncio.create_task(fresh.get("a", asyncio.Event().wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await fresh.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
