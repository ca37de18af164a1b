from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

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
    assert refused.value.message == "The server is busy and did not start this call. Try again."

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


class Line:
    """Calls of several principals, in the order in which they ran."""

    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.limit = limit
        self.ran: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.gate = asyncio.Event()

    async def begin(self, *names: str) -> None:
        """Begins calls named after their principal and a number, such as `alice-1`."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._call(name))
            await asyncio.sleep(0)

    async def _call(self, name: str) -> None:
        async with self.limit.slot(name.partition("-")[0]):
            self.ran.append(name)
            await self.gate.wait()

    async def finish(self) -> dict[str, bool]:
        """Lets all of them run; whether each of them did."""
        self.gate.set()
        await asyncio.wait(self.tasks.values(), timeout=5)
        return {name: task.exception() is None for name, task in self.tasks.items()}


async def test_principals_that_wait_take_turns() -> None:
    line = Line(ConcurrencyLimit(8))
    await line.begin(*(f"first-{n}" for n in range(8)))
    await line.begin("alice-1", "alice-2", "alice-3", "alice-4", "bob-1", "bob-2", "carol-1")

    assert all((await line.finish()).values())

    turns = ["alice-1", "bob-1", "carol-1", "alice-2", "bob-2", "alice-3", "alice-4"]
    assert line.ran[8:] == turns


async def test_nobody_keeps_others_out_of_the_queue() -> None:
    line = Line(ConcurrencyLimit(4))
    await line.begin(*(f"greedy-{n}" for n in range(10)))
    assert not (await refused(line, "greedy-8", "greedy-9"))

    await line.begin("alice-1", "alice-2", "alice-3")

    done = await line.finish()
    assert [name for name, ran in done.items() if not ran] == [
        *("greedy-6", "greedy-7", "greedy-8", "greedy-9", "alice-3")
    ]


async def refused(line: Line, *names: str) -> set[str]:
    """Which of these calls were not refused."""
    await asyncio.sleep(0)
    return {name for name in names if not isinstance(line.tasks[name].exception(), OverloadedError)}


async def test_the_longest_queue_makes_room_whatever_its_principal_is_called() -> None:
    line = Line(ConcurrencyLimit(3))
    await line.begin("aaron-1", "aaron-2", "aaron-3", "aaron-4", "aaron-5", "zoe-1")

    await line.begin("bob-1")

    done = await line.finish()
    assert [name for name, ran in done.items() if not ran] == ["aaron-5"]


async def test_a_full_queue_of_many_principals_takes_nobody_else() -> None:
    line = Line(ConcurrencyLimit(3))
    await line.begin("a-1", "b-1", "c-1", "d-1", "e-1", "f-1", "late-1")

    done = await line.finish()

    assert [name for name, ran in done.items() if not ran] == ["late-1"]


async def test_a_call_that_has_waited_too_long_is_refused_and_its_place_is_free() -> None:
    limit = ConcurrencyLimit(1, wait_seconds=0.01)
    line = Line(limit)
    await line.begin("alice-1")

    with pytest.raises(OverloadedError):
        async with limit.slot("bob"):
            pass
    assert limit.health() == {"status": "healthy", "running": 1, "waiting": 0}
    await line.finish()
    assert limit.health() == {"status": "healthy", "running": 0, "waiting": 0}


async def test_whatever_is_cancelled_and_when_no_place_is_lost() -> None:
    random = Random(5)
    limit = ConcurrencyLimit(3)
    most = 0
    running = 0

    async def call(subject: str) -> None:
        nonlocal most, running
        async with limit.slot(subject):
            running += 1
            most = max(most, running)
            try:
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                running -= 1

    tasks = []
    for _ in range(2_000):
        tasks.append(asyncio.create_task(call(random.choice("abcde"))))
        if random.random() < 0.5:
            random.choice(tasks[-8:]).cancel()
        if random.random() < 0.3:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert most == 3
    assert limit.health() == {"status": "healthy", "running": 0, "waiting": 0}
    assert {type(each) for each in outcomes} == {
        *(type(None), asyncio.CancelledError, OverloadedError)
    }


async def test_it_is_idle_when_the_last_call_has_ended() -> None:
    line = Line(ConcurrencyLimit(1))
    assert await line.limit.idle_within(0)
    await line.begin("alice-1", "bob-1")
    assert not await line.limit.idle_within(0.01)

    idle = asyncio.create_task(line.limit.idle_within(5))
    await asyncio.sleep(0)
    await line.finish()

    assert await idle
    assert line.ran == ["alice-1", "bob-1"]
    await line.begin("carol-1")
    assert (await line.finish())["carol-1"]


async def test_nobody_has_more_than_its_share_even_where_there_is_room() -> None:
    limit = ConcurrencyLimit(4, share=3, waiting=100)
    release, began = asyncio.Event(), []

    async def call(subject: str) -> None:
        async with limit.slot(subject):
            began.append(subject)
            await release.wait()

    greedy = [asyncio.create_task(call("greedy")) for _ in range(50)]
    await asyncio.sleep(0)
    assert limit.health()["running"] == 3
    async with asyncio.timeout(5):
        for _ in range(10):
            async with limit.slot("modest"):
                assert began == ["greedy"] * 3
    assert limit.health() == {"status": "healthy", "running": 3, "waiting": 47}

    for task in greedy[:10]:
        task.cancel()
    release.set()
    await asyncio.wait(greedy)
    assert len(began) == 43
    assert limit.health() == {"status": "healthy", "running": 0, "waiting": 0}


async def test_as_calls_come_wait_and_go_everybody_gets_the_share_and_no_more() -> None:
    random = Random(3)
    limit = ConcurrencyLimit(5, share=2, waiting=1_000)
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def call(subject: str) -> None:
        async with limit.slot(subject):
            running[subject] += 1
            most[subject] = max(most[subject], running[subject])
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            running[subject] -= 1

    calls = []
    for _ in range(300):
        calls.append(asyncio.create_task(call(random.choice("abc"))))
        await asyncio.sleep(0)
        if not random.randrange(30):
            await asyncio.wait(calls)
    await asyncio.wait(calls)

    assert most == {"a": 2, "b": 2, "c": 2}
    assert limit.health() == {"status": "healthy", "running": 0, "waiting": 0}


async def test_more_calls_may_wait_than_run() -> None:
    limit = ConcurrencyLimit(1, waiting=3)
    calls = Calls(limit)
    tasks = [asyncio.create_task(calls.call()) for _ in range(4)]
    await calls.until(lambda: calls.running == 1)
    with pytest.raises(OverloadedError):
        await calls.call()
    calls.release.set()
    await asyncio.gather(*tasks)
