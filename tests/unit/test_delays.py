from __future__ import annotations

import asyncio

from kailash_mcp_prod.delays import Delays, Waiting


class Thing:
    def __init__(self, then: Thing | None = None, waiting: Waiting | None = None) -> None:
        self.told = asyncio.Event()
        self._then = then
        self._waiting = waiting

    def late(self) -> None:
        self.told.set()
        if self._waiting is not None and self._then is not None:
            self._waiting.discard(self._then)


async def test_what_waits_is_told_when_its_time_is_over_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    waiting, thing = Delays(0.02).on(loop), Thing()
    began = loop.time()
    waiting.add(thing)
    async with asyncio.timeout(5):
        await thing.told.wait()
    assert loop.time() - began >= 0.02
    assert len(waiting) == 0


async def test_what_is_discarded_is_not_told_and_the_next_one_is() -> None:
    waiting, first, second = Delays(0.02).on(asyncio.get_running_loop()), Thing(), Thing()
    waiting.add(first)
    waiting.add(second)
    waiting.discard(first)
    async with asyncio.timeout(5):
        await second.told.wait()
    assert not first.told.is_set()


async def test_after_a_pause_it_waits_again() -> None:
    waiting = Delays(0.01).on(asyncio.get_running_loop())
    for _ in range(3):
        thing = Thing()
        waiting.add(thing)
        async with asyncio.timeout(5):
            await thing.told.wait()


async def test_one_that_is_told_may_discard_the_next() -> None:
    waiting, last = Delays(0.01).on(asyncio.get_running_loop()), Thing()
    second = Thing()
    first = Thing(second, waiting)
    for each in (first, second):
        waiting.add(each)
    async with asyncio.timeout(5):
        await first.told.wait()
    waiting.add(last)
    async with asyncio.timeout(5):
        await last.told.wait()
    assert not second.told.is_set()


def test_each_loop_has_its_own() -> None:
    delays = Delays(0.01)

    async def wait() -> Waiting:
        waiting, thing = delays.on(asyncio.get_running_loop()), Thing()
        assert delays.on(asyncio.get_running_loop()) is waiting
        waiting.add(thing)
        async with asyncio.timeout(5):
            await thing.told.wait()
        return waiting

    assert asyncio.run(wait()) is not asyncio.run(wait())
