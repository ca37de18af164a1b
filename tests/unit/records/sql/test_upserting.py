from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.records.model import Row
from kailash_mcp_prod.records.query import Query, Sort
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.store import Upserted
from tests.unit.records.sql.sample_tables import SAMPLE
from tests.unit.records.sqlite_store import running_store

PLACED = replace(
    SAMPLE,
    name="Placed",
    table="placed",
    unique_keys=(("id",), ("text",), ("integer", "date"), ("datetime",)),
)
PLACE = ("integer", "date")
DAY = datetime(2026, 3, 1, tzinfo=UTC).date()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with running_store(tmp_path / "upserting.db", PLACED) as store:
        yield store


async def stored(store: SqlStore, name: str) -> dict[str, Any]:
    page = await store.find(PLACED, Query(sort=(Sort(PLACED.key),), limit=5000))
    return {row["id"]: row[name] for row in page.rows}


async def test_rows_are_told_apart_in_their_order(store: SqlStore) -> None:
    await store.create_many(
        PLACED, [PLACED.complete({"id": each, "text": each, "float": 1.5}) for each in "abc"]
    )

    outcomes = await store.upsert_many(
        PLACED,
        [
            {"id": "new", "text": "x"},
            {"text": "c", "float": 2.5},
            {"id": "a", "text": "a", "boolean": True},
            {"id": "newer", "text": "y"},
        ],
        ("text",),
    )

    assert outcomes == [
        Upserted("new", created=True),
        Upserted("c", created=False),
        Upserted("a", created=False),
        Upserted("newer", created=True),
    ]
    # What was not given stays as it was.
    assert await stored(store, "float") == {
        "a": 1.5,
        "b": 1.5,
        "c": 2.5,
        "new": None,
        "newer": None,
    }


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
async def test_any_number_of_combinations_is_found(store: SqlStore, count: int) -> None:
    rows: list[Row] = [{"integer": number, "date": DAY} for number in range(count)]
    first = await store.upsert_many(PLACED, rows, PLACE)

    second = await store.upsert_many(PLACED, [{**row, "text": None} for row in rows], PLACE)

    assert [each.created for each in first] == [True] * count
    assert second == [Upserted(each.id, created=False) for each in first]


async def test_a_key_that_nobody_gave_is_not_looked_for(store: SqlStore) -> None:
    outcomes = await store.upsert_many(PLACED, [{"text": "a"}, {"id": "k", "text": "b"}], ("id",))

    assert [each.created for each in outcomes] == [True, True]
    assert outcomes[1].id == "k"


async def test_another_id_than_the_records_is_a_conflict_that_changes_nothing(
    store: SqlStore,
) -> None:
    await store.create(PLACED, PLACED.complete({"id": "a", "text": "t"}))

    with pytest.raises(ConflictError) as caught:
        await store.upsert_many(
            PLACED, [{"text": "new"}, {"id": "b", "text": "t", "float": 1.0}], ("text",)
        )

    assert caught.value.field == "data.id"
    assert await stored(store, "text") == {"a": "t"}


async def test_another_unique_key_that_is_taken_is_a_conflict(store: SqlStore) -> None:
    await store.create(PLACED, PLACED.complete({"id": "a", "text": "t"}))

    with pytest.raises(ConflictError) as caught:
        await store.upsert(PLACED, {"integer": 1, "date": DAY, "text": "t"}, PLACE)

    assert caught.value.details == {"unique_key": ["text"]}
    assert await stored(store, "text") == {"a": "t"}


async def test_a_record_is_recognised_by_an_instant_of_any_offset(store: SqlStore) -> None:
    moment = datetime(2026, 3, 1, 9, 30, 0, 1, tzinfo=UTC)
    row, created = await store.upsert(PLACED, {"datetime": moment, "float": 1.0}, ("datetime",))
    again, created_again = await store.upsert(
        PLACED, {"datetime": moment, "float": 2.0}, ("datetime",)
    )

    assert (created, created_again) == (True, False)
    assert again == {**row, "float": 2.0, "updated_at": again["updated_at"]}


async def test_an_upsert_that_gives_the_key_alone_changes_nothing(store: SqlStore) -> None:
    await store.create(PLACED, PLACED.complete({"id": "a", "text": "t", "float": 1.0}))

    row, created = await store.upsert(PLACED, {"id": "a"}, ("id",))

    assert (row["text"], row["float"], created) == ("t", 1.0, False)
