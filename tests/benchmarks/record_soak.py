"""500 calls of all kinds in flight on one store: errors, descriptors, threads and memory."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from kailash_mcp_prod.records.operations import Operation
from tests.benchmarks.harness import (
    Call,
    Figure,
    Finding,
    Usage,
    at_most,
    in_flight,
    seconds_of,
)
from tests.benchmarks.record_contestants import (
    Json,
    StoreContestant,
    item,
    prepared_database,
    store_contestant,
)

SEED_ROWS = 2_000
CALLS = 20_000
CALLS_BEFORE = 5_000
IN_FLIGHT = 500
BULK_ROWS = 10
MORE_THREADS = 8
MORE_DESCRIPTORS = 60
MORE_MEMORY = 8 * 2**20
MORE_MEMORY_SHARE = 0.05
SAMPLE_SECONDS = 0.01


def soak(name: str, url: str) -> list[Finding]:
    """Measures one database.

    Args:
        name: Of the database, for people.
        url: Where it is; it is empty.
    """
    return asyncio.run(_soak(name, url))


async def _soak(name: str, url: str) -> list[Finding]:
    db, prepared = await prepared_database(url)
    start = _rested()
    async with store_contestant(db, prepared, "sql") as store, _sampling() as peak:
        mix = _Mix(store, await _seed(store))
        first = await seconds_of(lambda: in_flight(mix.calls(CALLS_BEFORE), IN_FLIGHT))
        warm = _rested()
        rest = await seconds_of(lambda: in_flight(mix.calls(CALLS - CALLS_BEFORE), IN_FLIGHT))
        full = _rested()
    end = _rested()
    what = f"{name}, {IN_FLIGHT} mixed calls in flight"
    allowed = max(MORE_MEMORY, MORE_MEMORY_SHARE * warm.memory) / 2**20
    growth = (full.memory - warm.memory) / 2**20
    highest = peak()
    return [
        at_most(f"{what}: errors in {CALLS:,} calls", 0, len(mix.errors), "errors"),
        at_most(
            f"{what}: descriptors opened",
            MORE_DESCRIPTORS,
            highest.descriptors - start.descriptors,
            "more",
        ),
        at_most(f"{what}: threads begun", MORE_THREADS, highest.threads - start.threads, "more"),
        at_most(
            f"{what}: descriptors left after closing",
            0,
            end.descriptors - start.descriptors,
            "more",
        ),
        at_most(f"{what}: threads left after closing", 0, end.threads - start.threads, "more"),
        at_most(
            f"{what}: memory grown from call {CALLS_BEFORE:,} to {CALLS:,}",
            round(allowed, 1),
            growth,
            "MB",
        ),
        Figure(f"{what}: throughput", CALLS / (first + rest), "calls/s"),
        Figure(f"{what}: memory after {CALLS:,} calls", full.memory / 2**20, "MB"),
        *(Figure(f"{what}: {error}", 1, "time") for error in mix.errors[:5]),
    ]


def _rested() -> Usage:
    gc.collect()
    return Usage.now()


@asynccontextmanager
async def _sampling() -> AsyncIterator[Callable[[], Usage]]:
    """Gives what tells the highest usage of all samples that were taken within."""
    highest = Usage.now()

    async def sample() -> None:
        nonlocal highest
        while True:
            highest = highest.highest(Usage.now())
            await asyncio.sleep(SAMPLE_SECONDS)

    sampler = asyncio.create_task(sample())
    try:
        yield lambda: highest
    finally:
        sampler.cancel()
        await asyncio.wait({sampler})


async def _seed(store: StoreContestant) -> list[str]:
    keys: list[str] = []
    for start in range(0, SEED_ROWS, 1_000):
        rows = [item(number) for number in range(start, start + 1_000)]
        keys += (await store.operations[Operation.BULK_CREATE]({"data": rows}))["ids"]
    return keys


class _Mix:
    """Calls of all kinds, which create as many items as they delete.

    The items that were there from the beginning are read and changed, never deleted, so no call
    has a reason to fail.
    """

    def __init__(self, store: StoreContestant, keys: list[str]) -> None:
        self.errors: list[str] = []
        self._operations = store.operations
        self._keys = keys
        self._made: deque[str] = deque()
        self._number = 0
        makers: dict[Operation, tuple[int, Callable[[int], Awaitable[Any]]]] = {
            Operation.CREATE: (4, self._create),
            Operation.READ: (5, self._read),
            Operation.UPDATE: (3, self._update),
            Operation.LIST: (2, self._list),
            Operation.DELETE: (4, self._delete),
            Operation.UPSERT: (2, self._upsert),
            Operation.COUNT: (1, self._count),
            Operation.BULK_CREATE: (1, self._bulk_create),
            Operation.BULK_UPDATE: (1, self._bulk_update),
            Operation.BULK_UPSERT: (1, self._bulk_upsert),
            Operation.BULK_DELETE: (1, self._bulk_delete),
        }
        self._turns = [make for share, make in makers.values() for _ in range(share)]

    def calls(self, count: int) -> Iterator[Call]:
        """The next calls."""
        return islice(self._endless(), count)

    def _endless(self) -> Iterator[Call]:
        while True:
            self._number += 1
            # A stride that has no factor in common with the number of turns mixes them.
            make = self._turns[self._number * 7 % len(self._turns)]
            yield self._noting(make, self._number)

    def _noting(self, make: Callable[[int], Awaitable[Any]], number: int) -> Call:
        async def call() -> None:
            try:
                await make(number)
            except Exception as error:  # noqa: BLE001 - every error is a finding
                self.errors.append(repr(error))

        return call

    def _key(self, number: int) -> str:
        return self._keys[number * 31 % len(self._keys)]

    async def _run(self, operation: Operation, **arguments: Any) -> Json:
        return await self._operations[operation](arguments)

    async def _create(self, number: int) -> None:
        self._made.append((await self._run(Operation.CREATE, data=item(number)))["id"])

    async def _read(self, number: int) -> None:
        await self._run(Operation.READ, id=self._key(number))

    async def _update(self, number: int) -> None:
        await self._run(Operation.UPDATE, id=self._key(number), data={"qty": number % 1_000})

    async def _list(self, number: int) -> None:
        wanted = {"qty": {"$gte": number % 900}}
        await self._run(Operation.LIST, filter=wanted, sort=["-due"], limit=20)

    async def _delete(self, _number: int) -> None:
        if self._made:
            await self._run(Operation.DELETE, id=self._made.popleft())

    async def _upsert(self, number: int) -> None:
        await self._run(Operation.UPSERT, data={"id": self._key(number), **item(number)})

    async def _count(self, _number: int) -> None:
        await self._run(Operation.COUNT, filter={"active": True})

    async def _bulk_create(self, number: int) -> None:
        rows = [item(number + each) for each in range(BULK_ROWS)]
        self._made += (await self._run(Operation.BULK_CREATE, data=rows))["ids"]

    async def _bulk_update(self, number: int) -> None:
        keys = [self._keys[(number + each) % len(self._keys)] for each in range(BULK_ROWS)]
        await self._run(Operation.BULK_UPDATE, data=[{"id": key, "qty": 7} for key in keys])

    async def _bulk_upsert(self, number: int) -> None:
        keys = [self._keys[(number * 3 + each) % len(self._keys)] for each in range(BULK_ROWS)]
        rows = [{"id": key, **item(number)} for key in keys]
        await self._run(Operation.BULK_UPSERT, data=rows, conflict_on=["id"])

    async def _bulk_delete(self, _number: int) -> None:
        keys = [self._made.popleft() for _ in range(min(BULK_ROWS, len(self._made)))]
        if keys:
            await self._run(Operation.BULK_DELETE, ids=keys)
