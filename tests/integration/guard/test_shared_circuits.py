"""Circuits of several replicas, with a Redis between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from typing import Any

import pytest

from kailash_mcp_prod.errors import CircuitOpenError, UnavailableError
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.circuit_scripts import EXCHANGE, TAKE
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_circuits import SharedCircuits
from tests.redis_server import RedisServer
from tests.unit.guard.circuit_memory import CircuitMemory


class Replica:
    """The circuits of one process."""

    def __init__(self, url: str, recovery_seconds: float, *, lease_seconds: float = 60) -> None:
        self.redis = RedisConnection(url, "app", operation_seconds=5, probe_seconds=0.02)
        self.breakers = Breakers(2, recovery_seconds)
        self.circuits = SharedCircuits(
            self.breakers, self.redis, pause_seconds=0.01, lease_seconds=lease_seconds
        )

    def fail(self) -> None:
        for _ in range(2):
            try:
                with self.breakers.around("database", "a"):
                    raise UnavailableError("Away.")
            except UnavailableError:
                pass

    @property
    def is_unclosed(self) -> bool:
        return "database" in self.breakers.unclosed()

    @property
    def is_open(self) -> bool:
        return self.breakers.seconds_left("database") > 0


@asynccontextmanager
async def running(*made: Replica) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for each in made:
            await each.redis.start()
            stack.push_async_callback(each.redis.stop)
            await each.circuits.start()
            stack.push_async_callback(each.circuits.stop)
        yield


async def until(condition: Callable[[], bool]) -> None:
    """What replicas tell each other comes with no event to wait for, so it is looked for."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


async def test_others_learn_that_a_circuit_is_open_those_that_come_later_too(
    redis_server: RedisServer,
) -> None:
    one, other, late = (Replica(redis_server.url, 60) for _ in range(3))
    async with running(one, other):
        one.fail()
        await until(lambda: other.is_open)
        assert 55 < other.breakers.seconds_left("database") <= 60

        async with running(late):
            assert late.is_open


async def call(replica: Replica, answer: asyncio.Future[None], sent: list[Replica]) -> None:
    """A call, with what the database answers; it is noted if it got there."""
    with suppress(CircuitOpenError), replica.breakers.around("database", "a") as passage:
        await passage.ask()
        sent.append(replica)
        await answer


async def refused(replica: Replica) -> None:
    sent: list[Replica] = []
    await call(replica, asyncio.get_running_loop().create_future(), sent)
    assert sent == []


async def probing(
    replicas: list[Replica], answer: asyncio.Future[None]
) -> tuple[Replica, asyncio.Task[None]]:
    """Calls all replicas at the same time, again and again, until one sends a probe."""
    sent: list[Replica] = []
    async with asyncio.timeout(20):
        while True:
            calls = {
                asyncio.create_task(call(each, answer, sent)) for each in replicas for _ in range(3)
            }
            while sum(each.done() for each in calls) < len(calls) - len(sent):  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            if sent:
                [prober], [under_way] = sent, [each for each in calls if not each.done()]
                return prober, under_way


@pytest.mark.parametrize("ending", ["works", "fails"])
async def test_of_all_replicas_one_sends_the_probe_and_its_outcome_holds_for_all(
    redis_server: RedisServer, ending: str
) -> None:
    replicas = [Replica(redis_server.url, 0.3) for _ in range(3)]
    async with running(*replicas):
        replicas[0].fail()
        await until(lambda: all(each.is_unclosed for each in replicas))
        answer = asyncio.get_running_loop().create_future()
        prober, under_way = await probing(replicas, answer)
        lease = "app:{circuits}:probe:database"
        assert 50_000 < await prober.redis.run(lambda client: client.pttl(lease)) <= 60_000
        for each in 5 * replicas:
            await refused(each)

        if ending == "works":
            answer.set_result(None)
            await until(lambda: not any(each.is_unclosed for each in replicas))
        else:
            answer.set_exception(UnavailableError("Away."))
            await asyncio.wait({under_way})
            # That it is open for another while is known before the lease is free.
            while await prober.redis.run(lambda client: client.exists(lease)):
                await refused(replicas[-1])
            for each in replicas:
                await refused(each)
        await asyncio.wait({under_way})


async def test_when_the_probing_call_is_cancelled_another_replica_probes(
    redis_server: RedisServer,
) -> None:
    replicas = [Replica(redis_server.url, 0.2) for _ in range(2)]
    async with running(*replicas):
        replicas[0].fail()
        await until(lambda: all(each.is_unclosed for each in replicas))
        answer = asyncio.get_running_loop().create_future()
        prober, under_way = await probing(replicas, answer)
        [other] = [each for each in replicas if each is not prober]

        under_way.cancel()
        _, again = await probing([other], answer := asyncio.get_running_loop().create_future())

        answer.set_result(None)
        await asyncio.wait({again})
        await until(lambda: not any(each.is_unclosed for each in replicas))


async def test_when_the_prober_dies_another_replica_probes_after_its_lease(
    redis_server: RedisServer,
) -> None:
    dying, other = (Replica(redis_server.url, 0.2, lease_seconds=0.3) for _ in range(2))
    async with running(dying, other):
        dying.fail()
        await until(lambda: other.is_unclosed)
        answer = asyncio.get_running_loop().create_future()
        _, under_way = await probing([dying], answer)
        # As long as it lives, its lease goes on.
        until_then = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < until_then:
            await refused(other)
            await asyncio.sleep(0.02)

        await dying.redis.stop()
        _, again = await probing([other], answer)

        answer.set_result(None)
        await asyncio.wait({under_way, again})
        assert not other.is_unclosed


async def test_a_replica_that_stops_gives_its_lease_back(redis_server: RedisServer) -> None:
    one, other = (Replica(redis_server.url, 0.2) for _ in range(2))
    answer = asyncio.get_running_loop().create_future()
    async with running(other):
        async with running(one):
            one.fail()
            await until(lambda: other.is_unclosed)
            _, under_way = await probing([one], answer)
            under_way.cancel()
            await asyncio.wait({under_way})
        assert await other.redis.run(lambda client: client.keys("app:{circuits}:probe:*")) == []


async def test_without_redis_each_sends_a_probe_of_its_own(redis_server: RedisServer) -> None:
    replicas = [Replica(redis_server.url, 0.2) for _ in range(2)]
    async with running(*replicas):
        replicas[0].fail()
        await until(lambda: all(each.is_unclosed for each in replicas))
        redis_server.stop()
        await until(lambda: not any(each.redis.is_up for each in replicas))
        answer = asyncio.get_running_loop().create_future()
        calls = {(await probing([each], answer))[1] for each in replicas}
        answer.set_result(None)
        await asyncio.wait(calls)
        await until(lambda: not any(each.is_unclosed for each in replicas))


async def test_what_was_closed_elsewhere_before_its_time_closes_here(
    redis_server: RedisServer,
) -> None:
    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(one, other):
        one.fail()
        await until(lambda: other.is_open)
        await one.redis.run(lambda client: client.zrem("app:{circuits}:open", "database"))

        await until(lambda: not other.is_open and not one.is_open)


async def test_a_redis_that_has_lost_its_memory_closes_nothing(redis_server: RedisServer) -> None:
    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(one, other):
        one.fail()
        await until(lambda: other.is_open)
        await one.redis.run(lambda client: client.flushall())

        late = Replica(redis_server.url, 60)
        async with running(late):
            await until(lambda: late.is_open)
        assert one.is_open
        assert other.is_open


async def test_the_scripts_do_what_their_model_does(redis_server: RedisServer) -> None:
    """Every order of three steps of two replicas; the times are so long that none is over."""
    redis = RedisConnection(redis_server.url, "app", operation_seconds=5)
    await redis.start()
    client = redis.client()
    lease, pause, long_ms = 60_000, 1_000, 90_000
    circuits, key = redis.key("{circuits}", "open"), redis.key("{circuits}", "probe", "c")

    def take(token: str, memory: str) -> tuple[Any, ...]:
        return TAKE, 2, circuits, key, "c", token, lease, memory, pause

    def exchange(over: list[str], held: list[str], *news: Any) -> tuple[Any, ...]:
        count = len(over) + len(held)
        given = (2**51 + 7, lease, len(over), len(held), *over, *held, *news)
        return EXCHANGE, 1 + count, circuits, *(count * [key]), *given

    steps = (
        *(take(token, memory) for token in "ab" for memory in ("", str(2**51 + 7))),
        *(exchange([token], []) for token in "ab"),
        exchange(["a"], ["b"], "c", 0, "d", long_ms),
        exchange([], ["a"], "c", long_ms),
        exchange([], [], "c", -1, "never", -1),
    )
    for order in product(steps, repeat=3):
        await client.flushdb()
        memory = CircuitMemory(lambda: 10**12)
        for step in order:
            real, modelled = await client.eval(*step), await memory.eval(*step)
            assert _rounded(real) == _rounded(modelled), order
        assert int(await client.exists(key)) == len(memory.leases)
        assert (await client.get(key) or b"").decode() == memory.leases.get(key, "")
    await redis.stop()


def _rounded(answer: Any) -> Any:
    """Without the order of circuits, and the little time that has gone by."""
    if isinstance(answer, list):
        memory, *found = answer
        return memory, {name: _rounded(left) for name, left in zip(*2 * [iter(found)], strict=True)}
    return round(answer / 10_000 + 0.4)


async def test_without_redis_each_decides_for_itself_and_tells_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(one, other):
        redis_server.stop()
        await until(lambda: not one.redis.is_up and not other.redis.is_up)
        one.fail()
        assert one.is_open

        redis_server.start()
        await until(lambda: other.is_open)


async def test_what_turned_right_before_the_end_is_told_and_nothing_after_it(
    redis_server: RedisServer,
) -> None:
    def in_step() -> int:
        return sum(task.get_name() == "shared-circuits" for task in asyncio.all_tasks())

    one, other = Replica(redis_server.url, 60), Replica(redis_server.url, 60)
    async with running(other):
        async with running(one):
            assert in_step() == 2
            one.fail()
        assert in_step() == 1
        await until(lambda: other.is_open)
        await one.circuits.stop()
