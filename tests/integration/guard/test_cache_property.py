"""Random calls on cached replicas: no read is older than an acknowledged write, or another's."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.guard.cache import CacheSnapshot
from tests.integration.guard.cached_items import DOUBT_SECONDS, Replica, member_of, replicas
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import TABLE, item
from tests.redis_server import RedisServer, running_redis

TEAMS = ("a", "b")
KEYS = tuple(f"{team}{number}" for team in TEAMS for number in range(2))
_examples = count()

EXAMPLES = {"one-process": 25, "two-replicas": 12, "values-in-redis": 15}

KINDS = (
    *(6 * ("read",)),
    *("list", "list", "list", "count"),
    *("update", "bulk", "where", "upsert", "transaction", "mismatch", "unknown key", "cancelled"),
    *("later", "later"),
)
STEPS = st.tuples(
    st.sampled_from(KINDS), st.integers(0, 1), st.sampled_from(KEYS), st.sampled_from(TEAMS)
)
# The steps of a round run at the same time.
ROUNDS = st.lists(st.lists(STEPS, min_size=1, max_size=8), min_size=2, max_size=12)


@dataclass
class Run:
    """The replicas, and what any reader has to see by now.

    Each write of an item sets a larger number. `acknowledged` are those that were reported as
    stored, `possible` the largest that may be stored, and `refused` those that must never be seen.
    """

    found: list[Replica]
    clock: list[float]
    randomness: random.Random
    acknowledged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    possible: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    refused: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def step(self, kind: str, replica: Replica, key: str, team: str) -> None:
        # Not all at the same moment.
        await asyncio.sleep(self.randomness.choice((0, 0.001, 0.002, 0.004)))
        match kind:
            case "read":
                await self.read(replica, key, team)
            case "list":
                await self.list(replica, team)
            case "count":
                assert await replica.call(member_of(team), "count") == {"count": 2}
            case "later":
                # Past the doubt about a write, and now and then past what is kept.
                self.clock[0] += 2 * DOUBT_SECONDS
            case _:
                await self.write(kind, replica, key)

    async def audit(self) -> None:
        """Everybody reads everything on each replica."""
        for replica in self.found:
            for team in TEAMS:
                await self.list(replica, team)
                for key in KEYS:
                    await self.read(replica, key, team)

    async def read(self, replica: Replica, key: str, team: str) -> None:
        floor = self.acknowledged[key]
        if key[0] != team:
            with pytest.raises(NotFoundError):
                await replica.call(member_of(team), "read", id=key)
            return
        self.check(await replica.call(member_of(team), "read", id=key), floor)

    async def list(self, replica: Replica, team: str) -> None:
        floors = dict(self.acknowledged)
        page = await replica.call(member_of(team), "list", sort=["id"])
        assert [each["id"] for each in page["records"]] == [f"{team}0", f"{team}1"]
        for record in page["records"]:
            self.check(record, floors[record["id"]])

    def check(self, record: dict[str, Any], floor: int) -> None:
        seen = record["size"]
        assert floor <= seen <= self.possible[record["id"]], "older than an acknowledged write"
        assert seen not in self.refused, "a write that was undone"

    async def write(self, kind: str, replica: Replica, key: str) -> None:
        # One writer of an item at a time, so that what it holds is known.
        async with self.turns[key]:
            number = next(self.numbers)
            if kind in {"mismatch", "unknown key"}:
                self.refused.add(number)
            self.possible[key] = number
            change = asyncio.ensure_future(self.change(kind, replica, key, number))
            if kind == "cancelled":
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                change.cancel()
            await asyncio.wait({change})
            if change.cancelled():
                return
            if failure := change.exception():
                assert number in self.refused, failure
                return
            assert number not in self.refused
            self.acknowledged[key] = number

    async def change(self, kind: str, replica: Replica, key: str, number: int) -> None:
        writer, data = member_of(key[0]), {"size": number}
        match kind:
            case "update" | "cancelled":
                await replica.call(writer, "update", id=key, data=data)
            case "bulk":
                await replica.call(writer, "bulk_update", data=[{"id": key, **data}])
            case "where":
                await replica.call(writer, "bulk_update", filter={"id": key}, data=data)
            case "upsert":
                row = {"id": key, "label": key[0], **data}
                await replica.call(writer, "upsert", data=row)
            case "transaction":
                async with replica.store.transaction() as records:
                    await records.update_many(replica.model, [(key, data)])
            case "mismatch":
                await replica.call(writer, "update", id=key, data=data, expected={"size": -1})
            case "unknown key":
                rows = [{"id": key, **data}, {"id": "nobody", **data}]
                await replica.call(writer, "bulk_update", data=rows)


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where it costs nothing to make sure that something is stored, if there is such a place."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("replication", ["one-process", "two-replicas", "values-in-redis"])
def test_no_read_is_older_than_an_acknowledged_write_or_of_another_policy(
    shared_redis: RedisServer, folder: Path, replication: str
) -> None:
    with_redis, share_values = replication != "one-process", replication == "values-in-redis"
    totals: list[CacheSnapshot] = []

    async def example(rounds: list[list[tuple[str, int, str, str]]], seed: int) -> None:
        number = next(_examples)
        url = f"sqlite:///{folder / f'{number}.db'}"
        run_sql(url, TABLE)
        clock, randomness = [0.0], random.Random(seed)
        async with replicas(
            url,
            shared_redis.url if with_redis else None,
            count=2 if with_redis else 1,
            clock=lambda: clock[0],
            randomness=randomness,
            prefix=f"example{number}",
            share_values=share_values,
        ) as found:
            run = Run(found, clock, randomness)
            await found[0].plain_store.create_many(
                found[0].model, [item(key, label=key[0]) for key in KEYS]
            )
            for steps in rounds:
                async with asyncio.TaskGroup() as group:
                    for kind, which, key, team in steps:
                        replica = found[which % len(found)]
                        group.create_task(run.step(kind, replica, key, team))
                await run.audit()
            clock[0] += 2 * DOUBT_SECONDS
            await run.audit()
            await run.audit()
            totals.extend(replica.reads.cache.snapshot() for replica in found)

    @settings(
        max_examples=EXAMPLES[replication], deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(rounds=ROUNDS, seed=st.integers(0, 2**16))
    def examples(rounds: list[list[tuple[str, int, str, str]]], seed: int) -> None:
        asyncio.run(example(rounds, seed))

    examples()
    # The cache was at work, and not just out of the way.
    assert sum(each.hits + each.fetched for each in totals) > len(TEAMS) * len(totals)
    assert (sum(each.fetched for each in totals) > len(totals)) == share_values
