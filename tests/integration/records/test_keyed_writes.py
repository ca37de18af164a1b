"""Writes with an idempotency key on real databases: once, whoever dies or races."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import (
    ConflictError,
    InvalidArgumentsError,
    NotFoundError,
    UnavailableError,
)
from kailash_mcp_prod.records.columns import reflect_tables
from kailash_mcp_prod.records.receipts import Receipts
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.tools import idempotency
from tests.integration.records.keyed_items import TTL_SECONDS, Clock, KeyedItems
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import TABLE, item_store, stored_ids


@pytest.fixture
def url(database_url: str) -> str:
    run_sql(database_url, TABLE)
    return database_url


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with item_store(url) as store:
        yield store


@pytest.fixture
def items(url: str, store: SqlStore) -> KeyedItems:
    return KeyedItems(url, store)


def receipts_in(url: str) -> int:
    [[found]] = run_sql(url, "SELECT count(*) FROM mcp_idempotency")
    return int(found)


async def test_a_call_that_is_repeated_answers_the_same_and_changes_nothing_more(
    url: str, items: KeyedItems
) -> None:
    first = await items.call("a", "create", data={"label": "new"})

    assert await items.call("a", "create", data={"label": "new"}) == first
    assert stored_ids(url) == [first["id"]]
    other = await items.call("b", "create", data={"label": "new"})
    assert stored_ids(url) == sorted([first["id"], other["id"]])


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("update", {"id": "k1", "data": {"size": 2}, "expected": {"size": 1}}),
        ("delete", {"id": "k1"}),
        ("bulk_create", {"data": [{"label": "x"}, {"label": "y"}]}),
        ("bulk_update", {"data": [{"id": "k1", "size": 2}]}),
        ("bulk_update", {"filter": {"size": 1}, "data": {"size": 2}}),
        ("bulk_delete", {"ids": ["k1"]}),
        ("bulk_delete", {"filter": {"size": 1}}),
        ("upsert", {"data": {"id": "k2", "size": 2}}),
        ("bulk_upsert", {"data": [{"id": "k1", "size": 2}, {"id": "k2"}]}),
    ],
)
async def test_every_kind_of_write_is_done_once(
    url: str, items: KeyedItems, operation: str, arguments: dict[str, Any]
) -> None:
    await items.call(None, "create", data={"id": "k1", "size": 1})
    first = await items.call("a", operation, **arguments)
    stored = run_sql(url, "SELECT * FROM items ORDER BY id")

    assert await items.call("a", operation, **arguments) == first
    assert run_sql(url, "SELECT * FROM items ORDER BY id") == stored


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [("create", {"data": {"id": "k1", "size": 2}}), ("delete", {"id": "k1"})],
)
async def test_a_key_of_another_call_is_a_conflict(
    url: str, items: KeyedItems, operation: str, arguments: dict[str, Any]
) -> None:
    await items.call("a", "create", data={"id": "k1", "size": 1})

    with pytest.raises(ConflictError, match="another call") as refused:
        await items.call("a", operation, **arguments)
    assert refused.value.field == "_idempotency_key"
    assert stored_ids(url) == ["k1"]


async def test_a_key_belongs_to_its_principal(url: str, items: KeyedItems) -> None:
    for by in (ANONYMOUS, replace(ANONYMOUS, subject="b"), replace(ANONYMOUS, tenant="t")):
        await items.call("a", "create", by, data={"label": "x"})
    assert len(stored_ids(url)) == 3

    # The same subject with other grants may not see what the first one saw.
    other = replace(ANONYMOUS, permissions=frozenset({"Item:write"}))
    with pytest.raises(ConflictError):
        await items.call("a", "create", other, data={"label": "x"})


async def test_the_form_of_the_arguments_does_not_matter(url: str, items: KeyedItems) -> None:
    await items.call("a", "create", data={"id": "k1", "size": 1})

    assert (await items.call("a", "create", data={"size": 1, "id": "k1"}))["size"] == 1


async def test_a_call_that_failed_leaves_its_key(url: str, items: KeyedItems) -> None:
    with pytest.raises(InvalidArgumentsError):
        await items.call("a", "create", data={"size": "many"})
    with pytest.raises(NotFoundError):
        await items.call("a", "delete", id="k1")
    await items.call(None, "create", data={"id": "k1"})
    with pytest.raises(ConflictError):
        await items.call("a", "create", data={"id": "k1"})
    assert receipts_in(url) == 0

    assert await items.call("a", "delete", id="k1") == {"id": "k1", "deleted": True}


async def test_a_call_without_a_key_needs_no_table(url: str, items: KeyedItems) -> None:
    await items.call(None, "create", data={"id": "k1"})

    assert await reflect_tables(url, ["mcp_idempotency"]) == {}


async def test_a_call_that_is_stopped_leaves_its_key_or_its_result(
    url: str, items: KeyedItems
) -> None:
    await items.receipts.make_ready()
    for turns in range(0, 40, 3):
        name = f"k{turns}"
        task = asyncio.create_task(items.call(name, "create", data={"label": name}))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        again = await items.call(name, "create", data={"label": name})
        stored = run_sql(url, f"SELECT id FROM items WHERE label = '{name}'")
        assert stored == [(again["id"],)]


async def test_replicas_that_race_with_one_key_do_it_once(url: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = [
            KeyedItems(url, await stack.enter_async_context(item_store(url))) for _ in range(2)
        ]
        for number in range(5):
            key = f"key {number}"
            results = await asyncio.gather(
                *(replicas[each % 2].call(key, "create", data={"label": key}) for each in range(8))
            )
            assert len({result["id"] for result in results}) == 1
    assert len(stored_ids(url)) == 5


async def test_replicas_that_race_with_two_calls_and_one_key_do_one_of_them(url: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = [
            KeyedItems(url, await stack.enter_async_context(item_store(url))) for _ in range(2)
        ]
        results = await asyncio.gather(
            *(
                replica.call("a", "create", data={"label": f"{number}"})
                for number, replica in enumerate(replicas)
            ),
            return_exceptions=True,
        )
    assert sorted(type(each).__name__ for each in results) == ["ConflictError", "dict"]
    assert len(stored_ids(url)) == 1


@pytest.mark.parametrize(("when", "stored"), [("before", []), ("after", ["k1"])])
async def test_a_process_that_is_killed_at_the_commit_has_done_all_or_nothing(
    url: str, items: KeyedItems, when: str, stored: list[str]
) -> None:
    await items.receipts.make_ready()
    command = [sys.executable, "-m", "tests.integration.records.keyed_items", url, "a", when]
    killed = await asyncio.to_thread(subprocess.run, command, timeout=40, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert stored_ids(url) == stored
    # It would be a conflict if it were done again.
    assert (await items.call("a", "create", data={"id": "k1"}))["id"] == "k1"
    assert stored_ids(url) == ["k1"]


async def test_a_key_can_be_used_again_when_its_time_is_over(url: str, store: SqlStore) -> None:
    clock = Clock()
    items = KeyedItems(url, store, clock)
    await items.call("a", "create", data={"label": "x"})
    clock.now += TTL_SECONDS - 1
    await items.call("a", "create", data={"label": "x"})
    assert len(stored_ids(url)) == 1

    clock.now += 2
    await items.call("a", "create", data={"label": "other"})
    assert len(stored_ids(url)) == 2


async def test_what_has_expired_is_removed(
    url: str, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kailash_mcp_prod.records.receipts._TIDY_EACH", 5)
    clock = Clock()
    items = KeyedItems(url, store, clock)
    for number in range(5):
        await items.call(f"old {number}", "create", data={})
    clock.now += TTL_SECONDS + 1
    await items.call("new", "create", data={})

    assert receipts_in(url) == 1


async def test_a_result_that_is_too_long_is_not_repeated_but_known(
    url: str, items: KeyedItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_RESULT_BYTES", 100)
    first = await items.call("a", "create", data={"label": "long " * 50})
    with pytest.raises(ConflictError, match="too long") as refused:
        await items.call("a", "create", data={"label": "long " * 50})

    assert refused.value.details == {"outcome": "done"}
    assert stored_ids(url) == [first["id"]]


async def test_a_database_that_may_not_be_changed_says_so(url: str, store: SqlStore) -> None:
    items = KeyedItems(url, store)
    items.receipts._may_create = False

    with pytest.raises(UnavailableError, match="call without a key"):
        await items.call("a", "create", data={"id": "k1"})
    assert stored_ids(url) == []
    assert isinstance(items.receipts, Receipts)
