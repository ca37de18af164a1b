"""Tables that DataFlow did not make: their real column types serve the models, or nodes do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from dataflow import DataFlow

from kailash_mcp_prod.errors import InternalError, InvalidArgumentsError, ModelError
from kailash_mcp_prod.records.connecting import is_postgresql
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.prepare import Prepared, prepare_database
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.stores import Choice, ModelStores
from tests.integration.records.plain_sql import run_sql

pytestmark = pytest.mark.asyncio(loop_scope="session")

Json = dict[str, Any]


class ForeignItem:
    """Each kind of value in a column of the database's own type for it."""

    id: str
    label: str | None = None
    total: int | None = None
    tiny: int | None = None
    ratio: float | None = None
    narrow: float | None = None
    amount: Decimal | None = None
    token: UUID | None = None
    moment: datetime | None = None
    local: datetime | None = None
    day: date | None = None
    flag: bool | None = None
    free: dict | None = None  # type: ignore[type-arg]
    things: list | None = None  # type: ignore[type-arg]
    blob: bytes | None = None


class ForeignCounter:
    """The database makes a large key."""

    small: int | None = None
    label: str | None = None


class ForeignPrice:
    """A column that keeps no exact decimals."""

    id: str
    amount: Decimal | None = None


class ForeignKey:
    """A key that is not text."""

    id: str
    label: str | None = None


MODELS = (ForeignItem, ForeignCounter)
UNSERVED = (ForeignPrice, ForeignKey)
STAMPS = "created_at {0} DEFAULT CURRENT_TIMESTAMP, updated_at {0} DEFAULT CURRENT_TIMESTAMP"
POSTGRESQL = [
    f"""CREATE TABLE foreign_items (
        id VARCHAR(40) PRIMARY KEY, label VARCHAR(20), total BIGINT, tiny SMALLINT,
        ratio DOUBLE PRECISION, narrow REAL, amount NUMERIC(12, 3) UNIQUE, token UUID UNIQUE,
        moment TIMESTAMPTZ, local TIMESTAMP, day DATE, flag BOOLEAN, free JSON, things JSONB,
        blob BYTEA, extra INTERVAL, {STAMPS.format("TIMESTAMPTZ")})""",
    f"""CREATE TABLE foreign_counters (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, small SMALLINT, label VARCHAR(5),
        {STAMPS.format("TIMESTAMP")})""",
    f"""CREATE TABLE foreign_prices (
        id TEXT PRIMARY KEY, amount MONEY, {STAMPS.format("TIMESTAMP")})""",
    f"CREATE TABLE foreign_keys (id UUID PRIMARY KEY, label TEXT, {STAMPS.format('TIMESTAMP')})",
]
SQLITE = [
    f"""CREATE TABLE foreign_items (
        id VARCHAR(40) PRIMARY KEY, label NVARCHAR(20), total BIGINT, tiny SMALLINT,
        ratio DOUBLE PRECISION, narrow FLOAT, amount VARCHAR(40), token CHARACTER(36),
        moment DATETIME, local TEXT, day TEXT, flag BOOLEAN, free CLOB, things TEXT,
        blob BLOB, extra,
        {STAMPS.format("DATETIME")})""",
    f"""CREATE TABLE foreign_counters (
        id INTEGER PRIMARY KEY AUTOINCREMENT, small SMALLINT, label VARCHAR(5),
        {STAMPS.format("TIMESTAMP")})""",
    f"""CREATE TABLE foreign_prices (
        id TEXT PRIMARY KEY, amount DECIMAL(10, 2), {STAMPS.format("TIMESTAMP")})""",
    f"CREATE TABLE foreign_keys (id BLOB PRIMARY KEY, label TEXT, {STAMPS.format('TIMESTAMP')})",
]


class ForeignApp:
    """Models on foreign tables, called as a tool would call them."""

    def __init__(self, url: str, stores: ModelStores, prepared: Prepared) -> None:
        self.url = url
        self.stores = stores
        self._prepared = prepared

    def run(self, name: str, operation: str) -> RecordOperation:
        [model] = [each for each in self._prepared.models if each.name == name]
        store = self.stores.add(model, self._prepared.tables[name])
        return RecordOperation(store, model, Operation(operation))

    async def call(self, model: str, operation: str, **arguments: Any) -> Json:
        return await self.run(model, operation)(arguments)


@asynccontextmanager
async def running_foreign_app(
    url: str, models: tuple[type, ...], execution: Choice
) -> AsyncIterator[ForeignApp]:
    run_sql(url, *(POSTGRESQL if is_postgresql(url) else SQLITE))
    db = DataFlow(url, enable_caching=False, enable_model_persistence=False)
    for model in models:
        db.model(model)
    prepared = await prepare_database(db, auto_migrate=False)
    stores = ModelStores(db, execution, PoolSettings())
    try:
        yield ForeignApp(url, stores, prepared)
    finally:
        await stores.close()


ROWS: list[Json] = [
    {
        "id": "a",
        "label": "Éa",
        "total": 2**31 - 1,
        "tiny": 2**15 - 1,
        "ratio": 0.1,
        "narrow": 0.1,
        "amount": "10.500",
        "token": "123e4567-e89b-12d3-a456-426614174000",
        "moment": "2026-03-01T09:30:00+00:00",
        "local": "2026-03-01T09:30:00.000001+00:00",
        "day": "2026-03-01",
        "flag": True,
        "free": {"a": [1, 0.5, None, "é"]},
        "things": [1, "x", {"b": None}],
        "blob": "AAH/",
    },
    {
        "id": "b",
        "label": "aa",
        "total": -5,
        "tiny": -1,
        "ratio": -1e30,
        "narrow": 2.5,
        "amount": "9.000",
        "token": "00000000-0000-0000-0000-000000000001",
        "moment": "2025-12-31T23:59:59.999999+00:00",
        "local": "2026-03-01T09:30:00+00:00",
        "day": "1999-12-31",
        "flag": False,
        "free": {},
        "things": [],
        "blob": "",
    },
    {"id": "c", "label": "Z", "total": 0, "amount": "-3.125", "ratio": 1e-30, "narrow": -0.1},
    {"id": "d"},
]
NAMES = list(ROWS[0])
SORTABLE = [*("label", "total", "tiny", "ratio", "narrow", "amount", "moment", "local", "day")]


def whole(row: Json) -> Json:
    return {name: row.get(name) for name in NAMES}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def foreign_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('foreign') / 'foreign.db'}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def foreign(foreign_url: str) -> AsyncIterator[ForeignApp]:
    async with running_foreign_app(foreign_url, MODELS, "auto") as app:
        await app.call("ForeignItem", "bulk_create", data=ROWS)
        yield app


async def listed(app: ForeignApp, **arguments: Any) -> list[str]:
    """The ids of all records, by pages of two."""
    list_them = app.run("ForeignItem", "list")
    page = await list_them({"limit": 2, "fields": ["id"], **arguments})
    found = page["records"]
    while "next_cursor" in page:
        again = {"limit": 2, "fields": ["id"], "cursor": page["next_cursor"], **arguments}
        page = await list_them(again)
        found += page["records"]
    return [each["id"] for each in found]


async def test_foreign_tables_are_served_by_sql(foreign: ForeignApp) -> None:
    for name in ("ForeignItem", "ForeignCounter"):
        foreign.run(name, "read")
        assert foreign.stores.execution(name).store == "sql", foreign.stores.execution(name).reason


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
async def test_values_come_back_as_they_were_given(foreign: ForeignApp, row: Json) -> None:
    read = await foreign.call("ForeignItem", "read", id=row["id"])
    again = {**row, "id": f"again-{row['id']}"}
    for unique in ("amount", "token"):
        again.pop(unique, None)
    try:
        created = await foreign.call("ForeignItem", "create", data=again)
        change = {key: value for key, value in again.items() if key != "id"} or {"label": None}
        updated = await foreign.call("ForeignItem", "update", id="again-" + row["id"], data=change)
        rows = [{"id": "again-" + row["id"], **change}]
        await foreign.call("ForeignItem", "bulk_update", data=rows)
        bulk = await foreign.call("ForeignItem", "read", id="again-" + row["id"])
    finally:
        await foreign.call("ForeignItem", "delete", id="again-" + row["id"])

    assert {name: read[name] for name in NAMES} == whole(row)
    for shown in (created, updated, bulk):
        assert {name: shown[name] for name in NAMES} == whole(again)


@pytest.mark.parametrize(("name", "descending"), list(product(SORTABLE, [False, True])))
async def test_every_kind_sorts_and_pages_by_its_meaning(
    foreign: ForeignApp, name: str, descending: bool
) -> None:
    sort = [f"-{name}" if descending else name]

    assert await listed(foreign, sort=sort) == expected_order(name, descending)


def meaning(name: str, value: Any) -> Any:
    return Decimal(value) if name == "amount" else value


def expected_order(name: str, descending: bool) -> list[str]:
    there = [row for row in ROWS if row.get(name) is not None]
    there.sort(key=lambda row: meaning(name, row[name]), reverse=descending)
    return [row["id"] for row in there] + [row["id"] for row in ROWS if row.get(name) is None]


@pytest.mark.parametrize("name", [*SORTABLE, "token", "flag"])
async def test_every_kind_is_filtered_by_its_meaning(foreign: ForeignApp, name: str) -> None:
    there = {row["id"]: row[name] for row in ROWS if row.get(name) is not None}
    for key, value in there.items():
        assert await listed(foreign, filter={name: value}) == [key]
        others = sorted(set(there) - {key})
        assert await listed(foreign, filter={name: {"$ne": value}}) == others
        assert await listed(foreign, filter={name: {"$in": [value]}}) == [key]
        assert await listed(foreign, filter={name: {"$nin": [value]}}) == others
        if name in SORTABLE:
            larger = [
                other for other, each in there.items() if meaning(name, each) > meaning(name, value)
            ]
            assert await listed(foreign, filter={name: {"$gt": value}}) == sorted(larger)
            smaller = sorted(set(there) - set(larger))
            assert await listed(foreign, filter={name: {"$lte": value}}) == smaller
    missing = sorted({row["id"] for row in ROWS} - set(there))
    assert await listed(foreign, filter={name: {"$null": True}}) == missing


async def test_an_offset_and_other_digits_mean_the_same_value(foreign: ForeignApp) -> None:
    moment = {"moment": "2026-03-01T11:30:00+02:00"}

    assert await listed(foreign, filter=moment) == ["a"]
    assert await listed(foreign, filter={"amount": "10.5"}) == ["a"]
    assert await listed(foreign, filter={"amount": {"$in": ["9", "-3.12500"]}}) == ["b", "c"]
    assert await listed(foreign, filter={"ratio": {"$gt": -1e38}}) == ["a", "b", "c"]


async def test_a_value_that_the_column_cannot_hold_is_refused_and_nothing_is_stored(
    foreign: ForeignApp,
) -> None:
    if not is_postgresql(foreign.url):
        # SQLite's columns hold all that a field may.
        created = await foreign.call("ForeignCounter", "create", data={"small": 2**31 - 1})
        assert created["small"] == 2**31 - 1
        return
    wrong: list[tuple[str, Json]] = [
        ("ForeignCounter", {"small": 40_000}),
        ("ForeignCounter", {"label": "longer than five"}),
        ("ForeignItem", {"id": "x", "amount": "1234567890.5"}),
        ("ForeignItem", {"id": "x", "tiny": -40_000}),
        ("ForeignItem", {"id": "x" * 41}),
    ]
    for model, data in wrong:
        before = await foreign.call(model, "count")
        for operation, argument in (("create", data), ("bulk_create", [data])):
            with pytest.raises(InvalidArgumentsError):
                await foreign.call(model, operation, data=argument)
        assert await foreign.call(model, "count") == before
    with pytest.raises(InvalidArgumentsError):
        await foreign.call("ForeignItem", "bulk_update", data=[{"id": "a", "amount": "1e10"}])
    assert (await foreign.call("ForeignItem", "read", id="a"))["amount"] == "10.500"


async def test_keys_that_the_database_makes_come_in_the_order_of_the_rows(
    foreign: ForeignApp,
) -> None:
    rows = [{"small": number, "label": f"{number:05}"} for number in range(200)]

    made = await foreign.call("ForeignCounter", "bulk_create", data=rows)
    read = [await foreign.call("ForeignCounter", "read", id=key) for key in made["ids"][::20]]

    assert made["ids"] == sorted(made["ids"])
    assert [each["small"] for each in read] == list(range(0, 200, 20))


async def test_large_keys_of_others_are_served(foreign: ForeignApp) -> None:
    system = "OVERRIDING SYSTEM VALUE" if is_postgresql(foreign.url) else ""
    run_sql(
        foreign.url,
        f"INSERT INTO foreign_counters (id, label) {system} VALUES ({2**40}, 'large')",
    )

    found = await foreign.call("ForeignCounter", "list", filter={"label": "large"})

    assert [each["id"] for each in found["records"]] == [2**40]


async def test_instants_without_end_are_still_read(foreign: ForeignApp) -> None:
    if not is_postgresql(foreign.url):
        # SQLite knows none; what it keeps for others are texts.
        return
    run_sql(
        foreign.url,
        "INSERT INTO foreign_items (id, moment, local, day)"
        " VALUES ('ever', 'infinity', '-infinity', 'infinity')",
    )
    try:
        read = await foreign.call("ForeignItem", "read", id="ever")
        found = await foreign.call("ForeignItem", "list", filter={"id": "ever"})
    finally:
        await foreign.call("ForeignItem", "delete", id="ever")

    assert read == found["records"][0]
    assert read["moment"] == "9999-12-31T23:59:59.999999+00:00"
    assert read["local"] == "0001-01-01T00:00:00+00:00"
    assert read["day"] == "9999-12-31"


async def test_a_stored_date_that_python_does_not_know_is_an_internal_error(
    foreign: ForeignApp,
) -> None:
    if not is_postgresql(foreign.url):
        return
    run_sql(foreign.url, "INSERT INTO foreign_items (id, local) VALUES ('old', '0044-03-15 BC')")
    try:
        with pytest.raises(InternalError) as read:
            await foreign.call("ForeignItem", "read", id="old")
        with pytest.raises(InternalError):
            await foreign.call("ForeignItem", "list", filter={"id": "old"})
    finally:
        run_sql(foreign.url, "DELETE FROM foreign_items WHERE id = 'old'")

    assert "44" not in str(read.value.to_dict("r"))
    assert len((await foreign.call("ForeignItem", "list"))["records"]) == len(ROWS)


REASONS = {
    ("sqlite", "ForeignPrice"): "The column of amount holds decimal values, and its column is of "
    "type decimal(10, 2).",
    ("postgresql", "ForeignPrice"): "The column of amount holds decimal values, and its column is "
    "of type money.",
    ("sqlite", "ForeignKey"): "The column of id holds text values, and its column is of type blob.",
    ("postgresql", "ForeignKey"): "The column of id holds text values, and its column is of type "
    "uuid.",
}


async def test_what_sql_cannot_hold_goes_to_nodes_and_says_why(database_url: str) -> None:
    dialect = database_url.partition(":")[0]
    async with running_foreign_app(database_url, UNSERVED, "auto") as app:
        for name in ("ForeignPrice", "ForeignKey"):
            app.run(name, "read")
            execution = app.stores.execution(name)

            assert execution.store == "nodes"
            assert execution.reason == REASONS[dialect, name]


async def test_what_sql_cannot_hold_is_refused_where_sql_is_asked_for(database_url: str) -> None:
    async with running_foreign_app(database_url, UNSERVED, "sql") as app:
        with pytest.raises(ModelError) as caught:
            app.run("ForeignPrice", "read")

    assert "Model ForeignPrice: The column of amount" in str(caught.value)
    assert "Set execution to auto or nodes." in str(caught.value)


async def test_unique_decimals_kept_as_text_go_to_nodes(sqlite_url: str) -> None:
    """Two texts of one number would be two unique values."""

    class ForeignRate:
        """A unique decimal."""

        id: str
        rate: Decimal

        __dataflow__ = {"indexes": [{"name": "uq_rate", "fields": ["rate"], "unique": True}]}  # noqa: RUF012

    run_sql(
        sqlite_url,
        f"CREATE TABLE foreign_rates (id TEXT PRIMARY KEY, rate TEXT NOT NULL, "
        f"{STAMPS.format('TIMESTAMP')})",
        "CREATE UNIQUE INDEX uq_rate ON foreign_rates (rate)",
    )
    async with running_foreign_app(sqlite_url, (ForeignRate,), "auto") as app:
        app.run("ForeignRate", "read")

        assert app.stores.execution("ForeignRate").store == "nodes"
        assert "rate is unique" in app.stores.execution("ForeignRate").reason


async def test_every_kind_is_grouped_and_measured_by_its_meaning(foreign: ForeignApp) -> None:
    for name in (*SORTABLE, "token", "flag"):
        groups = await aggregated(foreign, group_by=[name], sort=[f"-{name}"])
        shown = [each["by"][name] for each in groups]
        there = [row[name] for row in ROWS if row.get(name) is not None]
        assert sorted(shown[: len(there)], key=str) == sorted(there, key=str)
        assert set(shown[len(there) :]) == {None}
        [found] = await aggregated(foreign, count_distinct=[name])
        assert found["count_distinct"] == {name: len(there)}
    for name in SORTABLE:
        there = sorted(
            (row[name] for row in ROWS if row.get(name) is not None),
            key=lambda value: meaning(name, value),
        )
        [found] = await aggregated(foreign, min=[name], max=[name])
        assert (found["min"][name], found["max"][name]) == (there[0], there[-1])


async def test_sums_and_averages_of_real_columns_have_no_digits_of_their_own(
    foreign: ForeignApp,
) -> None:
    numbers = ["total", "tiny", "ratio", "narrow", "amount"]
    [found] = await aggregated(
        foreign, sum=numbers, avg=numbers, filter={"id": {"$in": ["a", "c"]}}
    )

    assert found["sum"] == {
        "total": 2**31 - 1,
        "tiny": 2**15 - 1,
        "ratio": 0.1 + 1e-30,
        "narrow": 0.0,
        "amount": "7.375",
    }
    assert found["avg"] == {
        "total": (2**31 - 1) / 2,
        "tiny": 2**15 - 1,
        "ratio": 0.05,
        "narrow": 0.0,
        "amount": "3.6875",
    }


async def test_a_sum_may_be_larger_than_its_column(foreign: ForeignApp) -> None:
    large = 2**63 - 1
    values = ", ".join(f"('large-{number}', {large})" for number in range(3))
    run_sql(foreign.url, f"INSERT INTO foreign_items (id, total) VALUES {values}")
    try:
        asked: Json = {"sum": ["total"], "avg": ["total"], "group_by": ["flag"]}
        groups = await aggregated(foreign, **asked, sort=["-sum.total"])
    finally:
        run_sql(foreign.url, "DELETE FROM foreign_items WHERE id LIKE 'large-%'")

    assert [each["sum"]["total"] for each in groups] == [3 * large, 2**31 - 1, -5]
    assert groups[0]["avg"]["total"] == 3 * large / 4


async def aggregated(app: ForeignApp, **arguments: Any) -> list[Json]:
    groups: list[Json] = (await app.call("ForeignItem", "aggregate", **arguments))["groups"]
    return groups
