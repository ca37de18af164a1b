from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit


class Calls:
    """Calls through a limit, which run until they are released."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.limit = limit
        self.running = 0
        self.most_running = 0
        self.release = asyncio.Event()
        self._changed = asyncio.Condition()

    async def call(self) -> None:
        async with self.limit.slot("anyone"):
            await self._count(1)
            try:
                await self.release.wait()
            finally:
                await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self._changed:
            self.running += change
            self.most_running = max(self.most_running, self.running)
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._changed, asyncio.timeout(5):
            await self._changed.wait_for(condition)


async def test_calls_beyond_the_limit_wait_and_the_next_are_refused_at_once() -> None:
    calls = Calls(ConcurrencyLimit(2))
    tasks = [asyncio.create_task(calls.call()) for _ in range(4)]
    await calls.until(lambda: calls.running == 2)

    with pytest.raises(OverloadedError) as refused:
        async with calls.limit.slot("anyone"):
            pass
    assert refused.value.retry_after_seconds == 1

    calls.release.set()
    await asyncio.gather(*tasks)
    assert calls.most_running == 2


async def test_a_refusal_and_an_end_leave_room_again() -> None:
    calls = Calls(ConcurrencyLimit(1))
    tasks = [asyncio.create_task(calls.call()) for _ in range(2)]
    await calls.until(lambda: calls.running == 1)
    for _ in range(10):
        with pytest.raises(OverloadedError):
            await calls.call()
    calls.release.set()
    await asyncio.gather(*tasks)

    await asyncio.gather(*(calls.call() for _ in range(2)))
    assert calls.running == 0


async def test_a_failing_call_gives_its_place_back() -> None:
    limit = ConcurrencyLimit(1)
    for _ in range(5):
        with pytest.raises(LookupError):
            async with limit.slot("anyone"):
                raise LookupError

    async with asyncio.timeout(5), limit.slot("anyone"):
        pass


async def test_cancelled_calls_give_their_places_back_whether_they_run_or_wait() -> None:
    calls = Calls(ConcurrencyLimit(1))
    running = asyncio.create_task(calls.call())
    await calls.until(lambda: calls.running == 1)
    waiting = asyncio.create_task(calls.call())
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    calls.release.set()
    await asyncio.wait_for(asyncio.gather(calls.call(), calls.call()), 5)


async def test_who_waited_first_runs_first() -> None:
    limit = ConcurrencyLimit(3)
    order: list[int] = []
    gate = asyncio.Event()

    async def call(number: int) -> None:
        async with limit.slot("anyone"):
            order.append(number)
            await gate.wait()

    tasks = [asyncio.create_task(call(number)) for number in range(6)]
    await asyncio.sleep(0)
    assert order == [0, 1, 2]
    gate.set()
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 4, 5]


def test_the_limit_of_a_server_that_starts_again_works_on_the_new_loop() -> None:
    limit = ConcurrencyLimit(1)

    async def contend() -> int:
        calls = Calls(limit)
        calls.release.set()
        await asyncio.gather(calls.call(), calls.call())
        return calls.most_running

    assert [asyncio.run(contend()), asyncio.run(contend())] == [1, 1]
