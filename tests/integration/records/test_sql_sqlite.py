"""`SqlStore` on SQLite: few threads, one writer, and other processes on the same file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, UnavailableError
from kailash_mcp_prod.records.aggregates import parse_aggregation
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.sql import sqlite_lane
from kailash_mcp_prod.records.sql.store import SqlStore
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import (
    ITEM,
    TABLE,
    ids,
    item,
    item_store,
    matching,
    stored_ids,
    view_of_items,
)

ENDLESS = replace(ITEM, name="Endless", table="endless_items")
# As many rows as SQLite likes to count: reading one takes as long as it is let.
FOR_EVER = (
    "(WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n) > 0"
)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(sqlite_url: str) -> str:
    run_sql(sqlite_url, TABLE, view_of_items("endless_items", FOR_EVER))
    return sqlite_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with item_store(url, ITEM, ENDLESS) as store:
        yield store


def resources() -> tuple[int, int]:
    """How many threads and descriptors this process has."""
    return threading.active_count(), psutil.Process().num_fds()


def mixed_call(store: SqlStore, number: int) -> Awaitable[Any]:
    """One of several operations, none of which is refused."""
    key = f"n{number}"
    match number % 6:
        case 0:
            return store.create(ITEM, item(key))
        case 1:
            return store.read(ITEM, "first")
        case 2:
            return store.find(ITEM, matching({"label": {"$ilike": "N%"}}))
        case 3:
            return store.create_many(ITEM, [item(f"{key}a"), item(f"{key}b")])
        case 4:
            return store.count(ITEM, parse_filter(ITEM, None))
        case _:
            return store.update(ITEM, "first", {"label": key}, {})


async def test_500_calls_in_flight_open_five_threads_and_few_descriptors(url: str) -> None:
    async with item_store(url) as store:
        before = resources()
        await store.create(ITEM, item("first"))
        calls = asyncio.gather(*(mixed_call(store, number) for number in range(500)))
        seen = [resources()]
        while not calls.done():
            await asyncio.sleep(0)
            seen.append(resources())
        await calls
        seen.append(resources())

        assert max(threads for threads, _ in seen) <= before[0] + 5
        assert max(descriptors for _, descriptors in seen) <= before[1] + 15
        assert await store.count(ITEM, parse_filter(ITEM, None)) == 1 + 84 + 2 * 83
    assert resources() == before


async def reading_for_ever(store: SqlStore, count: int) -> list[asyncio.Task[Any]]:
    """Reads that never end, of which as many have begun as there are readers."""
    query = matching(model=ENDLESS)
    tasks = [asyncio.create_task(store.find(ENDLESS, query)) for _ in range(count)]
    await asyncio.to_thread(wait_for_readers, store, min(count, 4))
    return tasks


def wait_for_readers(store: SqlStore, count: int) -> None:
    running: dict[Any, Any] = store._database._readers._running  # type: ignore[attr-defined]
    deadline = time.monotonic() + 20
    while len(running) < count:
        assert time.monotonic() < deadline


async def test_a_cancelled_read_is_interrupted_and_the_others_go_on(store: SqlStore) -> None:
    await store.create(ITEM, item("a"))
    for number in range(5):
        endless = await reading_for_ever(store, 6)
        others = [asyncio.create_task(store.read(ITEM, "a")) for _ in range(20)]
        # With all readers at work, writes still go on.
        await store.update(ITEM, "a", {"label": "b"}, {"label": "b" if number else "new"})
        for task in endless:
            task.cancel()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*endless, return_exceptions=True)
            read = await asyncio.gather(*others)

        assert all(isinstance(each, asyncio.CancelledError) for each in outcomes)
        assert {each["label"] for each in read} == {"b"}


async def test_a_cancelled_aggregate_is_interrupted(store: SqlStore) -> None:
    await store.create(ITEM, item("a"))
    asked = parse_aggregation(ENDLESS, {"group_by": ["label"], "max": ["label"]})
    tasks = [asyncio.create_task(store.aggregate(ENDLESS, asked)) for _ in range(4)]
    await asyncio.to_thread(wait_for_readers, store, 4)
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await ids(store) == ["a"]

    assert all(task.cancelled() for task in tasks)


async def test_an_interruption_hits_only_the_read_that_was_cancelled(store: SqlStore) -> None:
    await store.create_many(ITEM, [item(f"k{number}") for number in range(100)])
    for _ in range(10):
        reads = [asyncio.create_task(ids(store)) for _ in range(40)]
        await reads[0]
        for task in reads[1::2]:
            task.cancel()
        outcomes = await asyncio.gather(*reads, return_exceptions=True)

        for each in outcomes[::2]:
            assert isinstance(each, list)
            assert len(each) == 100


async def test_a_cancelled_read_within_a_transaction_is_interrupted_and_undoes_it(
    store: SqlStore, url: str
) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as records:
            await records.create(ITEM, item("a"))
            begun.set()
            await records.find(ENDLESS, matching(model=ENDLESS))

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait({task})
        await store.create(ITEM, item("b"))

    assert task.cancelled()
    assert stored_ids(url) == ["b"]


@pytest.mark.parametrize("steps", range(6))
async def test_of_cancelled_writes_those_are_stored_that_say_so(
    store: SqlStore, url: str, steps: int
) -> None:
    """A call that is cancelled when its write has begun still tells what came of it."""
    tasks = [asyncio.create_task(store.create(ITEM, item(f"k{n:03}"))) for n in range(150)]
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps % 2:
        await tasks[0]
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert not [each for each in outcomes if isinstance(each, Exception)]
    told = [each["id"] for each in outcomes if isinstance(each, dict)]
    assert stored_ids(url) == told
    assert {f"k{number:03}" for number in range(1, 150, 2)} <= set(told)


async def test_a_cancelled_write_that_fails_says_why(store: SqlStore, url: str) -> None:
    await store.create(ITEM, item("a"))
    tasks = [asyncio.create_task(store.create(ITEM, item("a"))) for _ in range(100)]
    await asyncio.wait(tasks[:1])
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(each) for each in outcomes} <= {ConflictError, asyncio.CancelledError}
    assert stored_ids(url) == ["a"]


def trigger(action: str) -> str:
    """Whenever a record labelled `bad` is inserted, that happens after the row was written."""
    return (
        "CREATE TRIGGER refuse AFTER INSERT ON items WHEN NEW.label = 'bad' "
        f"BEGIN SELECT RAISE({action}, 'no'); END"
    )


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
async def test_of_writes_at_the_same_time_the_refused_ones_leave_nothing_and_the_others_all(
    store: SqlStore, url: str, action: str
) -> None:
    run_sql(url, trigger(action))
    await store.create(ITEM, item("taken"))
    good = [item(f"good{number:02}") for number in range(30)]
    refused = [
        [item("x1"), item("x2"), item("taken")],
        [item("x3"), item("x4", label="bad"), item("x5")],
        [item("x6", label="bad")],
    ]
    calls: list[Awaitable[Any]] = [store.create(ITEM, row) for row in good[:20]]
    calls[5:5] = [store.create_many(ITEM, rows) for rows in refused]
    calls[15:15] = [store.create(ITEM, item("x7", label="bad")), store.create(ITEM, item("taken"))]
    calls.append(store.create_many(ITEM, good[20:]))

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    failures = [each for each in outcomes if isinstance(each, Exception)]
    assert [type(each) for each in failures] == [
        ConflictError,
        *[InvalidArgumentsError] * 3,
        ConflictError,
    ]
    assert stored_ids(url) == [*(row["id"] for row in good), "taken"]


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO items (id) VALUES ('held')")
print("held", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
"""


@contextmanager
def another_writer(url: str) -> Iterator[None]:
    """A process that has the file for itself, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url.removeprefix("sqlite:///")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()
    assert process.returncode == 0


WRITES: dict[str, Callable[[SqlStore], Awaitable[Any]]] = {
    "create": lambda store: store.create(ITEM, item("b")),
    "update": lambda store: store.update(ITEM, "a", {"size": 1}, {}),
    "expected": lambda store: store.update(ITEM, "a", {"size": 1}, {"size": 0}),
    "delete": lambda store: store.delete(ITEM, "a"),
    "create_many": lambda store: store.create_many(ITEM, [item("b"), item("c")]),
    "update_where": lambda store: store.update_where(ITEM, parse_filter(ITEM, None), {"size": 1}),
    "upsert": lambda store: store.upsert(ITEM, {"id": "a", "size": 1}, ("id",)),
}


async def test_while_another_process_writes_reads_go_on_and_writes_are_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_lane, "BUSY_SECONDS", 0.05)
    async with item_store(url) as store:
        await store.create(ITEM, item("a"))
        with another_writer(url):
            writes = [asyncio.ensure_future(write(store)) for write in WRITES.values()]
            for _ in range(20):
                assert await ids(store) == ["a"]
            outcomes = dict(
                zip(WRITES, await asyncio.gather(*writes, return_exceptions=True), strict=True)
            )
            assert await ids(store) == ["a"]

        for name, error in outcomes.items():
            assert isinstance(error, UnavailableError), name
            assert error.retryable
            assert error.details is None
        assert await ids(store) == ["a", "held"]
        await WRITES["expected"](store)
        await WRITES["create_many"](store)
        assert stored_ids(url) == ["a", "b", "c", "held"]


@pytest.mark.parametrize("opened", [True, False])
async def test_a_write_waits_for_another_process_that_is_soon_done(
    store: SqlStore, url: str, opened: bool
) -> None:
    if opened:
        await store.create(ITEM, item("a"))
    with another_writer(url):
        write = asyncio.ensure_future(store.create(ITEM, item("b")))
        bulk = asyncio.ensure_future(store.create_many(ITEM, [item("c")]))
        if opened:
            assert await ids(store) == ["a"]
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.gather(write, bulk)

    assert stored_ids(url) == ["a"] * opened + ["b", "c", "held"]


async def test_a_transaction_cancelled_while_it_waits_for_another_process_leaves_no_trace(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_lane, "BUSY_SECONDS", 0.3)
    async with item_store(url) as store:
        with another_writer(url):
            bulk = asyncio.ensure_future(store.create_many(ITEM, [item("c")]))
            await asyncio.sleep(0)
            bulk.cancel()
            async with asyncio.timeout(20):
                await asyncio.wait({bulk})
        await store.create(ITEM, item("d"))

    assert bulk.cancelled()
    assert stored_ids(url) == ["d", "held"]


def write_and_kill(url: str, acknowledgements: int) -> list[str]:
    """Lets a process write, kills it, and returns the keys that it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.records.sql_writer", url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        # What it had written into the pipe before, except a line that it did not finish.
        acknowledged += process.stdout.readlines()
    assert process.returncode < 0
    return [line.strip() for line in acknowledged if line.endswith("\n")]


@pytest.mark.parametrize("acknowledgements", [120, 400])
def test_a_process_that_is_killed_has_stored_all_that_it_acknowledged(
    url: str, acknowledgements: int
) -> None:
    acknowledged = write_and_kill(url, acknowledgements)

    assert len(acknowledged) >= acknowledgements
    assert set(acknowledged) <= set(stored_ids(url))


async def test_a_store_goes_on_where_a_killed_process_left_the_file(url: str) -> None:
    acknowledged = await asyncio.to_thread(write_and_kill, url, 60)
    async with item_store(url) as store:
        assert set(acknowledged) <= set(await ids(store))
        await store.create(ITEM, item("after"))
        assert (await store.read(ITEM, "after"))["id"] == "after"


async def test_a_slow_read_that_runs_out_of_time_is_stopped_for_good(store: SqlStore) -> None:
    await store.create(ITEM, item("a"))
    for _ in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.find(ENDLESS, matching(model=ENDLESS))

    async with asyncio.timeout(20):
        assert await asyncio.gather(*(ids(store) for _ in range(10))) == [["a"]] * 10
