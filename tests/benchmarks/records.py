"""The record stores against the drivers without anything: `make bench NAME=records`.

The whole call of the store, with validation and the shaping of the result, runs in turn with the
raw driver and, as information, with DataFlow's nodes, on the same table. PostgreSQL waits for the
disk as in production (`fsync`, `synchronous_commit` and `full_page_writes` are on), and SQLite
too (`synchronous` is FULL on both sides).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.harness import (
    Call,
    Figure,
    Finding,
    Heartbeat,
    Rounds,
    at_least,
    at_most,
    calls_per_second,
    in_fresh_process,
    interleave,
    longest_waits,
    run,
    seconds_of,
    settle_heap,
)
from tests.benchmarks.record_contestants import (
    Contestant,
    RawPostgresql,
    RawSqlite,
    StoreContestant,
    item,
    make_durable,
    prepared_database,
    raw_postgresql,
    raw_sqlite,
    store_contestant,
)
from tests.benchmarks.record_soak import soak
from tests.postgres import running_postgres

IN_FLIGHT = 50
SEED_ROWS = 3_000
ROUNDS = 11
BULK_ROWS = 1_000
BULK_ROUNDS = 31
BULK_TIMES_DRIVER = 3
BULK_STRETCH_MS = 20
LARGE_TEXT_STRETCH_MS = 5
STRETCH_RUNS = 15
NODE_RUNS = 2

OURS, RAW, NODES, LEAN = "store", "raw driver", "nodes", "raw driver, pool without reset"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that is measured: how many calls a round has, and the bar in percent if any."""

    name: str
    calls: int
    node_calls: int
    bar: float | None


POSTGRESQL = (
    Operation("read", 1_000, 200, 50),
    Operation("update", 1_000, 200, 50),
    Operation("create", 1_000, 200, 40),
    Operation("list of 20", 500, 100, 40),
)
SQLITE = (
    Operation("read", 1_000, 50, 25),
    Operation("list of 20", 500, 50, 25),
    Operation("create", 1_000, 50, 30),
    Operation("update", 1_000, 50, None),
)


@dataclass(frozen=True, slots=True)
class Arena:
    """A database with a filled table, and those who run on it."""

    name: str
    ours: StoreContestant
    nodes: StoreContestant
    raw: RawPostgresql | RawSqlite
    keys: tuple[str, ...] = ()
    others: Mapping[str, Contestant] = field(default_factory=dict)

    @property
    def contestants(self) -> Mapping[str, Contestant]:
        """By name, in the order in which they take turns."""
        return {RAW: self.raw, OURS: self.ours, NODES: self.nodes, **self.others}

    def calls(self, contestant: Contestant, operation: str, count: int) -> list[Call]:
        """Calls of one operation, each on another record."""
        numbers = range(count)
        match operation:
            case "read":
                return [contestant.read(self.keys[each % len(self.keys)]) for each in numbers]
            case "update":
                return [
                    contestant.update(self.keys[each % len(self.keys)], each) for each in numbers
                ]
            case "create":
                return [contestant.create(item(each, "created")) for each in numbers]
            case _:
                return [contestant.page(each % 500) for each in numbers]


@asynccontextmanager
async def postgresql_arena(url: str) -> AsyncIterator[Arena]:
    """PostgreSQL, and asyncpg with pools of 20."""
    db, prepared = await prepared_database(url)
    async with (
        store_contestant(db, prepared, "sql") as ours,
        store_contestant(db, prepared, "nodes") as nodes,
        raw_postgresql(url, prepared.models[0].table) as raw,
        raw_postgresql(url, prepared.models[0].table, reset=False) as lean,
    ):
        yield await _filled(Arena("PostgreSQL", ours, nodes, raw, others={LEAN: lean}))


@asynccontextmanager
async def sqlite_arena(path: Path) -> AsyncIterator[Arena]:
    """A SQLite file, and aiosqlite with one connection."""
    db, prepared = await prepared_database(f"sqlite:///{path}")
    async with (
        store_contestant(db, prepared, "sql") as ours,
        store_contestant(db, prepared, "nodes") as nodes,
        raw_sqlite(path, prepared.models[0].table) as raw,
    ):
        yield await _filled(Arena("SQLite", ours, nodes, raw))


async def _filled(arena: Arena) -> Arena:
    keys: list[str] = []
    for start in range(0, SEED_ROWS, BULK_ROWS):
        rows = [item(number) for number in range(start, start + BULK_ROWS)]
        keys += (await arena.ours.bulk(rows)())["ids"]
    await arena.raw.tidy("none")
    settle_heap()
    return replace(arena, keys=tuple(keys))


async def throughput(arena: Arena, operation: Operation) -> list[Finding]:
    """The throughput of one operation, of raw and in calls per second."""

    processor: dict[str, list[float]] = defaultdict(list)

    def contest(name: str, contestant: Contestant) -> Callable[[], Awaitable[float]]:
        count = operation.node_calls if name == NODES else operation.calls

        async def once() -> float:
            calls = arena.calls(contestant, operation.name, count)
            began = time.process_time()
            figure = await calls_per_second(calls, IN_FLIGHT)
            processor[name].append((time.process_time() - began) / count)
            return figure

        return once

    contestants = {name: contest(name, each) for name, each in arena.contestants.items()}
    rounds = await interleave(contestants, ROUNDS)
    await arena.raw.tidy("created")
    return [
        *_of_raw(f"{arena.name} {operation.name}", rounds, operation.bar),
        *_medians(f"{arena.name} {operation.name}", rounds),
        *(
            Figure(
                f"{arena.name} {operation.name}: {name}, processor", median(each) * 1e6, "us/call"
            )
            for name, each in processor.items()
        ),
    ]


def _of_raw(what: str, rounds: Rounds, bar: float | None) -> Iterator[Finding]:
    share = 100 * rounds.ratio(OURS, RAW)
    if bar is None:
        yield Figure(f"{what}: store of raw driver", share, "%")
    else:
        yield at_least(f"{what}, {IN_FLIGHT} in flight: of raw driver", bar, share, "%")
    yield Figure(f"{what}: nodes of raw driver", 100 * rounds.ratio(NODES, RAW), "%")
    if LEAN in rounds.figures:
        yield Figure(f"{what}: store of {LEAN}", 100 * rounds.ratio(OURS, LEAN), "%")


def _medians(what: str, rounds: Rounds) -> Iterator[Figure]:
    for name in rounds.figures:
        yield Figure(f"{what}: {name}", rounds.median(name), "calls/s")


async def relaxed_sqlite(arena: Arena, raw: RawSqlite) -> list[Finding]:
    """Creates beside a raw driver whose commits don't wait for the disk."""

    async def relaxed() -> float:
        await raw.synchronous("NORMAL")
        figure = await calls_per_second(arena.calls(raw, "create", 1_000), IN_FLIGHT)
        await raw.synchronous("FULL")
        return figure

    async def ours() -> float:
        return await calls_per_second(arena.calls(arena.ours, "create", 1_000), IN_FLIGHT)

    rounds = await interleave({RAW: relaxed, OURS: ours}, 5)
    await raw.tidy("created")
    what = f"{arena.name} create beside raw with synchronous NORMAL"
    share = Figure(f"{what}: store of raw driver", 100 * rounds.ratio(OURS, RAW), "%")
    return [share, *_medians(what, rounds)]


async def bulk(arena: Arena) -> list[Finding]:
    """Bulk create against the driver's own best way; the driver gets its rows ready made."""

    async def once(contestant: Contestant) -> float:
        rows = [item(number, "bulk") for number in range(BULK_ROWS)]
        figure = await seconds_of(contestant.bulk(rows))
        # By the one who made them: what another connection changes has to be read again.
        await contestant.clear("bulk")
        return figure

    rounds = await interleave(
        {RAW: partial(once, arena.raw), OURS: partial(once, arena.ours)}, BULK_ROUNDS
    )
    nodes = await interleave({NODES: partial(once, arena.nodes)}, NODE_RUNS, warm_up=0)
    what = f"{arena.name} bulk create of {BULK_ROWS:,} rows"
    rows = [item(number, "bulk") for number in range(BULK_ROWS)]
    stretch = await longest_waits(arena.ours.bulk(rows), STRETCH_RUNS)
    node_stretch = await longest_waits(arena.nodes.bulk(rows), 1)
    raw_stretch = await longest_waits(arena.raw.bulk(rows), 1)
    await arena.raw.tidy("bulk")
    times = rounds.ratio(OURS, RAW)
    return [
        at_most(f"{what}: of raw driver", BULK_TIMES_DRIVER, times, "times"),
        at_most(f"{what}: longest stretch on the loop", BULK_STRETCH_MS, stretch.usual * 1e3, "ms"),
        Figure(f"{what}: worst stretch", stretch.worst * 1e3, "ms"),
        Figure(f"{what}: nodes of raw driver", nodes.median(NODES) / rounds.median(RAW), "times"),
        *(
            Figure(f"{what}: {name}", each.median(name) * 1e3, "ms")
            for name, each in ((RAW, rounds), (OURS, rounds), (NODES, nodes))
        ),
        Figure(f"{what}: longest stretch of raw driver", raw_stretch.usual * 1e3, "ms"),
        Figure(f"{what}: longest stretch of nodes", node_stretch.usual * 1e3, "ms"),
    ]


async def large_text(arena: Arena) -> list[Finding]:
    """How long others wait while a text of 1 MB is stored and returned."""
    # Mostly ASCII, as texts are, and a letter that is not, so that it has to be encoded.
    text = ("A line of a long report, naïve as it is. " * 26_000)[: 2**20 - 2**15]
    given = {**item(1, "large"), "note": text}
    stretch = await longest_waits(arena.ours.create(given), STRETCH_RUNS)
    raw_stretch = await longest_waits(arena.raw.create(given), STRETCH_RUNS)
    with Heartbeat() as idle:
        await asyncio.sleep(0.2)
    await arena.raw.tidy("large")
    what = f"{arena.name} create with a text of 1 MB"
    return [
        at_most(
            f"{what}: longest stretch on the loop", LARGE_TEXT_STRETCH_MS, stretch.usual * 1e3, "ms"
        ),
        Figure(f"{what}: worst stretch", stretch.worst * 1e3, "ms"),
        Figure(f"{what}: longest stretch of raw driver", raw_stretch.usual * 1e3, "ms"),
        Figure(f"{arena.name}: longest stretch of an idle loop", idle.longest * 1e3, "ms"),
    ]


async def measure(arena: Arena, operations: tuple[Operation, ...]) -> list[Finding]:
    """All that is measured on both databases."""
    findings: list[Finding] = []
    for operation in operations:
        findings += await throughput(arena, operation)
    findings += await bulk(arena)
    findings += await large_text(arena)
    return findings


def postgresql(url: str) -> list[Finding]:
    """The part on PostgreSQL, in an empty database."""

    async def part() -> list[Finding]:
        async with postgresql_arena(url) as arena:
            return await measure(arena, POSTGRESQL)

    return asyncio.run(part())


def sqlite(path: Path) -> list[Finding]:
    """The part on SQLite, in a new file."""

    async def part() -> list[Finding]:
        async with sqlite_arena(path) as arena:
            findings = await measure(arena, SQLITE)
            if isinstance(arena.raw, RawSqlite):
                findings += await relaxed_sqlite(arena, arena.raw)
            return findings

    return asyncio.run(part())


def all_parts() -> Iterator[Finding]:
    """Every part, one after the other."""
    with running_postgres() as server:
        make_durable(server)
        with server.database() as url:
            yield from in_fresh_process(postgresql, url)
        with server.database() as url:
            yield from in_fresh_process(soak, "PostgreSQL", url)
    with tempfile.TemporaryDirectory(prefix="kailash-mcp-prod-bench-") as folder:
        yield from in_fresh_process(sqlite, Path(folder) / "bench.db")
        yield from in_fresh_process(soak, "SQLite", f"sqlite:///{Path(folder) / 'soak.db'}")


if __name__ == "__main__":
    sys.exit(run("records", all_parts))
