from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.model import Field, Row
from kailash_mcp_prod.records.query import EVERYTHING, All, Comparison, Condition, Query, Sort
from kailash_mcp_prod.records.reach import reach_of
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.sql.writing import slices, within
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.unit.records.sql.sample_tables import COUNTED, SAMPLE
from tests.unit.records.sqlite_store import running_store

TENANT = Field("tenant_id", FieldType(Kind.TEXT), "", required=True, read_only=True)
OWNED = replace(SAMPLE, name="Owned", table="owned", tenant=TENANT)
TENTH = Comparison(SAMPLE.fields[2], "$eq", 10)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with running_store(tmp_path / "writing.db", SAMPLE, COUNTED, OWNED) as store:
        yield store


def rows(count: int, **values: Any) -> list[Row]:
    return [SAMPLE.complete({"id": f"k{number:04}", **values}) for number in range(count)]


async def integers(store: SqlStore) -> dict[str, Any]:
    page = await store.find(SAMPLE, Query(sort=(Sort(SAMPLE.key),), limit=5000))
    return {row["id"]: row["integer"] for row in page.rows}


def test_slices_hold_all_values_in_order() -> None:
    assert list(slices(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(slices([], 2)) == []


def test_an_open_scope_adds_nothing_to_a_condition() -> None:
    assert within(TENTH, OPEN) is TENTH
    assert within(EVERYTHING, Scope(TENTH)) == All((EVERYTHING, TENTH))


def test_a_model_with_tenants_is_reached_with_a_tenant_only() -> None:
    ours = Scope(TENTH, {"tenant_id": "a"})

    assert reach_of(SAMPLE, OPEN) is OPEN
    assert reach_of(OWNED, ours).rows == All((TENTH, Comparison(TENANT, "$eq", "a")))
    assert reach_of(OWNED, ours).values == {"tenant_id": "a"}
    for values in ({}, {"tenant_id": ""}, {"tenant_id": None}):
        with pytest.raises(ForbiddenError):
            reach_of(OWNED, Scope(TENTH, values))


async def test_rows_with_fields_in_any_order_and_number_are_written_to_their_columns(
    store: SqlStore,
) -> None:
    given = rows(3)
    given[1] = {name: given[1][name] for name in reversed(given[1])}
    await store.create_many(SAMPLE, [{**row, "integer": at} for at, row in enumerate(given)])

    changed = await store.update_many(
        SAMPLE,
        [
            ("k0002", {"text": "c", "integer": 20}),
            ("k0000", {"integer": 5}),
            ("k0001", {"integer": 10, "text": "b"}),
        ],
    )

    page = await store.find(SAMPLE, Query(sort=(Sort(SAMPLE.key),), fields=("text", "integer")))
    assert changed == ["k0002", "k0000", "k0001"]
    assert [(row["text"], row["integer"]) for row in page.rows] == [
        (None, 5),
        ("b", 10),
        ("c", 20),
    ]


async def test_a_key_that_is_not_there_changes_and_deletes_nothing(store: SqlStore) -> None:
    await store.create_many(SAMPLE, rows(3, integer=1))
    before = await integers(store)
    changes = [("k0000", {"integer": 2}), ("nope", {"integer": 2}), ("also not", {"integer": 2})]

    with pytest.raises(NotFoundError) as updated:
        await store.update_many(SAMPLE, changes)
    with pytest.raises(NotFoundError) as deleted:
        await store.delete_many(SAMPLE, ["k0000", "nope", "also not"])

    assert updated.value.details == deleted.value.details == {"id": "nope"}
    assert await integers(store) == before


async def test_a_thousand_records_are_written_at_once_and_a_thousand_and_one_are_not(
    store: SqlStore,
) -> None:
    everything: Condition = Comparison(SAMPLE.key, "$gte", "")
    made = await store.create_many(SAMPLE, rows(1000, integer=0))
    keys = await store.update_where(SAMPLE, everything, {"integer": 1})
    named = await store.update_many(SAMPLE, [(key, {"integer": 2}) for key in reversed(made)])
    await store.create(SAMPLE, SAMPLE.complete({"id": "one more"}))

    assert made == keys == named[::-1]
    with pytest.raises(InvalidArgumentsError):
        await store.update_where(SAMPLE, everything, {"integer": 3})
    with pytest.raises(InvalidArgumentsError):
        await store.delete_where(SAMPLE, everything)
    assert set((await integers(store)).values()) == {2, None}
    assert await store.delete_many(SAMPLE, made) == made
    assert await store.delete_where(SAMPLE, everything) == ["one more"]


async def test_keys_that_the_database_makes_are_those_of_the_rows(store: SqlStore) -> None:
    texts = [f"t{number}" for number in range(300)]

    made = await store.create_many(COUNTED, [COUNTED.complete({"text": each}) for each in texts])

    page = await store.find(COUNTED, Query(sort=(Sort(COUNTED.key),), limit=1000))
    assert made == [row["id"] for row in page.rows]
    assert [row["text"] for row in page.rows] == texts
