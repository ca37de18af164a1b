from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError, ServerError
from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.query import Comparison
from kailash_mcp_prod.records.results import result_schema
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.json_schema import check_value
from tests.unit.records.sqlite_store import running_store

NOTHING = object()


def field(name: str, kind: Kind, default: Any = NOTHING, **more: Any) -> Field:
    required = default is NOTHING
    field_type = FieldType(kind, nullable=default is None)
    return Field(name, field_type, f"The {name}.", required, None if required else default, **more)


KEPT = {"default": None, "read_only": True}
THING = Model(
    "Thing",
    "things",
    "A thing.",
    (
        field("id", Kind.TEXT),
        field("name", Kind.TEXT),
        field("code", Kind.TEXT, None),
        field("size", Kind.INTEGER, 3),
        field("price", Kind.DECIMAL, Decimal("1.50")),
        field("tags", Kind.ARRAY, list),
        field("created_at", Kind.DATETIME, **KEPT),
        field("updated_at", Kind.DATETIME, **KEPT),
    ),
    unique_keys=(("id",), ("code",)),
)
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "", required=True, read_only=True)


def scope_of(tenant: str) -> Scope:
    return Scope(Comparison(TENANT, "$eq", tenant), {"tenant_id": tenant})


class App:
    """The operations of a model on one store, whose results must fit their schemas."""

    def __init__(self, store: RecordStore, model: Model = THING) -> None:
        self.store = store
        self.model = model
        signer = CursorSigner()
        self.run = {each: RecordOperation(store, model, each, signer) for each in Operation}

    async def call(self, operation: str, scope: Scope = OPEN, **arguments: Any) -> dict[str, Any]:
        result = await self.run[Operation(operation)](arguments, scope)
        check_value(result_schema(self.model, Operation(operation)), result)
        return result

    async def refusal(self, operation: str, scope: Scope = OPEN, **arguments: Any) -> ServerError:
        with pytest.raises(ServerError) as caught:
            await self.run[Operation(operation)](arguments, scope)
        return caught.value

    async def fill(self, count: int, scope: Scope = OPEN, **values: Any) -> None:
        rows = [
            {"id": f"t{at:02}", "name": f"n{at % 3}", "size": at % 4, **values}
            for at in range(count)
        ]
        await self.call("bulk_create", scope, data=rows)

    async def walk(self, scope: Scope = OPEN, **arguments: Any) -> list[str]:
        """The ids of all pages."""
        page = await self.call("list", scope, **arguments)
        ids = [each["id"] for each in page["records"]]
        while "next_cursor" in page:
            page = await self.call("list", scope, cursor=page["next_cursor"], **arguments)
            ids += [each["id"] for each in page["records"]]
        return ids


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with running_store(tmp_path / "things.db", THING) as store:
        yield App(store)


async def test_a_record_is_completed_stored_and_shown(app: App) -> None:
    created = await app.call("create", data={"name": "Lamp"})

    assert created == {
        "id": created["id"],
        "name": "Lamp",
        "code": None,
        "size": 3,
        "price": "1.50",
        "tags": [],
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
    }
    assert list(created) == [each.name for each in THING.fields]
    assert await app.call("read", id=created["id"]) == created


async def test_fields_are_shown_as_they_were_asked_for(app: App) -> None:
    await app.call("create", data={"id": "t", "name": "Lamp", "price": "2.00"})

    read = await app.call("read", id="t", fields=["price", "id"])
    listed = await app.call("list", fields=["name"], sort=["-size"])

    assert list(read.items()) == [("price", "2.00"), ("id", "t")]
    assert listed["records"] == [{"name": "Lamp"}]


@pytest.mark.parametrize("sort", [[], ["name"], ["-name", "size"], ["-size"], ["code", "-id"]])
@pytest.mark.parametrize("limit", [1, 4, 30])
async def test_cursors_lead_through_every_record_once(
    app: App, sort: list[str], limit: int
) -> None:
    await app.fill(15)
    whole = await app.call("list", sort=sort, limit=1000)

    assert await app.walk(sort=sort, limit=limit) == [each["id"] for each in whole["records"]]


async def test_a_cursor_goes_on_where_values_are_null(app: App) -> None:
    await app.fill(3)
    for at, code in enumerate(["b", None, "a", None]):
        await app.call("create", data={"id": f"c{at}", "name": "x", "code": code})

    assert await app.walk(sort=["-code"], limit=1) == ["c0", "c2", "c1", "c3", "t00", "t01", "t02"]


async def test_a_cursor_keeps_its_place_while_records_come_and_go(app: App) -> None:
    await app.fill(6)
    page = await app.call("list", limit=3)
    await app.call("delete", id="t02")
    await app.call("create", data={"id": "t00b", "name": "before"})
    await app.call("create", data={"id": "t03b", "name": "behind"})

    following = await app.call("list", limit=3, cursor=page["next_cursor"])

    assert [each["id"] for each in following["records"]] == ["t03", "t03b", "t04"]


async def test_there_is_a_cursor_exactly_when_more_follow(app: App) -> None:
    await app.fill(6)

    assert "next_cursor" not in await app.call("list", limit=6)
    assert "next_cursor" in await app.call("list", limit=5)
    assert "next_cursor" in await app.call("list", limit=2, offset=3)
    assert "next_cursor" not in await app.call("list", limit=2, offset=4)


async def test_a_page_that_the_store_cuts_is_continued(app: App) -> None:
    await app.fill(10, name="x" * 1_000_000)

    page = await app.call("list", limit=9)

    assert (page["count"], page["limit"]) == (8, 9)
    assert len(await app.walk(limit=9)) == 10


async def test_a_cursor_after_an_offset_goes_on_from_there(app: App) -> None:
    await app.fill(6)
    page = await app.call("list", limit=2, offset=2)

    following = await app.call("list", limit=2, cursor=page["next_cursor"])

    assert [each["id"] for each in following["records"]] == ["t04", "t05"]


async def test_a_cursor_carries_fields_that_are_not_shown(app: App) -> None:
    await app.fill(6)
    page = await app.call("list", limit=4, sort=["-size"], fields=["name"])

    following = await app.call("list", sort=["-size"], cursor=page["next_cursor"], fields=["size"])

    assert following["records"] == [{"size": 0}, {"size": 0}]


async def test_a_total_counts_all_pages_alike(app: App) -> None:
    await app.fill(6)
    asked: dict[str, Any] = {"filter": {"size": {"$lt": 2}}, "limit": 2, "include_total": True}

    first = await app.call("list", **asked)
    second = await app.call("list", cursor=first["next_cursor"], **asked)

    assert (first["total"], second["total"]) == (4, 4)
    assert (first["count"], second["count"]) == (2, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"filter": {"size": 2}},
        {"filter": {}},
        {"sort": ["size"]},
        {"sort": ["-name"]},
        {"sort": []},
        {"cursor": "x"},
        {"cursor": ""},
    ],
)
async def test_a_cursor_of_another_list_is_refused(app: App, changed: dict[str, Any]) -> None:
    await app.fill(12)
    asked: dict[str, Any] = {"filter": {"size": 1}, "sort": ["name"], "limit": 1}
    cursor = (await app.call("list", **asked))["next_cursor"]

    error = await app.refusal("list", **{**asked, "cursor": cursor, **changed})

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "cursor"
    assert "Repeat filter and sort" in error.message


async def test_a_cursor_takes_another_limit_and_other_fields(app: App) -> None:
    await app.fill(12)
    cursor = (await app.call("list", limit=1))["next_cursor"]

    page = await app.call("list", cursor=cursor, limit=2, fields=["id"], sort=[], filter={})

    assert page["records"] == [{"id": "t01"}, {"id": "t02"}]


async def test_a_cursor_of_another_model_or_server_is_refused(app: App) -> None:
    await app.fill(3)
    cursor = (await app.call("list", limit=1))["next_cursor"]

    assert (await App(app.store).refusal("list", cursor=cursor)).field == "cursor"


async def test_a_cursor_and_an_offset_exclude_each_other(app: App) -> None:
    await app.fill(3)
    cursor = (await app.call("list", limit=1))["next_cursor"]

    error = await app.refusal("list", cursor=cursor, offset=0)

    assert error.field == "cursor"
    assert error.message == "cursor: give either cursor or offset, not both."
    schema = app.run[Operation.LIST].schema
    assert not jsonschema.Draft202012Validator(schema).is_valid({"cursor": cursor, "offset": 0})


async def test_a_value_too_long_for_a_cursor_is_told_and_offset_goes_on(app: App) -> None:
    for at in range(3):
        await app.call("create", data={"id": f"t{at}", "name": "x" * 1_000_000})

    page = await app.call("list", sort=["name"], limit=1, fields=["id"])
    behind = await app.call("list", sort=["name"], limit=1, fields=["id"], offset=1)

    assert "next_cursor" not in page
    assert "offset" in page["no_next_cursor"]
    assert behind["records"] == [{"id": "t1"}]
    assert "next_cursor" in await app.call("list", limit=1, fields=["id"])


async def test_a_scope_bounds_every_operation_and_its_cursors(tmp_path: Path) -> None:
    owned = replace(THING, tenant=TENANT)
    async with running_store(tmp_path / "owned.db", owned) as store:
        await check_scopes(App(store, owned))


async def check_scopes(app: App) -> None:
    ours, theirs = scope_of("ours"), scope_of("theirs")
    await app.fill(4, ours)
    await app.call("create", theirs, data={"id": "x1", "name": "n"})

    cursor = (await app.call("list", ours, limit=1))["next_cursor"]

    assert await app.walk(ours, limit=1) == ["t00", "t01", "t02", "t03"]
    assert await app.walk(theirs) == ["x1"]
    assert await app.call("count", theirs) == {"count": 1}
    assert (await app.call("list", theirs, include_total=True))["total"] == 1
    assert (await app.refusal("list", theirs, cursor=cursor)).field == "cursor"
    assert (await app.refusal("list", cursor=cursor)).field == "cursor"
    for operation, arguments in {
        "read": {"id": "x1"},
        "update": {"id": "x1", "data": {"size": 1}},
        "delete": {"id": "x1"},
        "bulk_update": {"data": [{"id": "x1", "size": 1}]},
        "bulk_delete": {"ids": ["x1"]},
    }.items():
        assert isinstance(await app.refusal(operation, ours, **arguments), NotFoundError)
    everything = {"filter": {"size": {"$null": False}}}
    assert (await app.call("bulk_update", theirs, data={"size": 9}, **everything))["updated"] == 1
    assert (await app.call("bulk_delete", theirs, **everything))["deleted"] == 1
    assert await app.call("upsert", theirs, data={"id": "t9", "name": "n"})
    assert await app.call("bulk_upsert", theirs, data=[{"id": "t8", "name": "n"}])
    assert await app.walk(theirs) == ["t8", "t9"]
    assert await app.call("count", ours) == {"count": 4}


async def test_an_upsert_shows_what_is_stored_and_whether_it_was_created(app: App) -> None:
    made = await app.call("upsert", data={"code": "a", "name": "Lamp"}, conflict_on=["code"])
    changed = await app.call("upsert", data={"code": "a", "name": "Desk"}, conflict_on=["code"])

    assert made == {**changed, "name": "Lamp", "created": True}
    assert changed["created"] is False
    assert await app.call("count") == {"count": 1}


async def test_bulk_calls_name_keys_in_their_order(app: App) -> None:
    rows = [{"id": f"r{at:04}", "name": "n"} for at in range(1000)]

    created = await app.call("bulk_create", data=rows)
    updated = await app.call(
        "bulk_update", data=[{"id": "r0007", "size": 1}, {"id": "r0003", "size": 1}]
    )
    upserted = await app.call(
        "bulk_upsert", data=[{"id": "r0005", "name": "m"}, {"id": "s", "name": "m"}]
    )

    assert created == {
        "processed": 1000,
        "created": 1000,
        "ids": [row["id"] for row in rows],
    }
    assert updated == {"processed": 2, "updated": 2, "ids": ["r0007", "r0003"]}
    assert upserted == {
        "processed": 2,
        "created": 1,
        "updated": 1,
        "ids": ["r0005", "s"],
        "outcomes": ["updated", "created"],
    }


async def test_bulk_rows_that_name_a_record_twice_are_refused(app: App) -> None:
    row = {"id": "r", "name": "n"}

    for operation, arguments, where in [
        ("bulk_create", {"data": [row, row]}, "data[1].id"),
        ("bulk_update", {"data": [{"id": "r", "size": 1}] * 2}, "data[1].id"),
        ("bulk_delete", {"ids": ["r", "q", "r"]}, "ids[2]"),
        ("bulk_upsert", {"data": [row, row]}, "data[1]"),
    ]:
        assert (await app.refusal(operation, **arguments)).field == where
    assert (await app.refusal("bulk_update", data=[{"id": "r"}])).field == "data[0]"
    assert await app.call("count") == {"count": 0}


@pytest.mark.parametrize("operation", ["bulk_create", "bulk_upsert", "bulk_update"])
async def test_what_is_wrong_in_a_late_row_is_named_by_its_index(app: App, operation: str) -> None:
    rows: list[Any] = [{"id": f"r{at}", "name": "n"} for at in range(1000)]
    rows[17] = {"id": "r17", "name": 5}
    rows[998] = {"id": "r998", "name": "n", "nmae": 1}
    rows[999] = "no row"

    error = await app.refusal(operation, data=rows)

    assert error.field == "data[17].name"
    assert error.details is not None
    assert error.details["problems"] == [
        {"field": "data[17].name", "message": "use text"},
        {
            "field": "data[998].nmae",
            "message": "unknown argument: remove it or mend its name",
        },
        {"field": "data[999]", "message": "use an object"},
    ]
    assert error.details["known_fields"] == ["id", "name", "code", "size", "price", "tags"]


async def test_at_most_twenty_problems_are_named(app: App) -> None:
    error = await app.refusal("bulk_create", data=[{"size": "x"}] * 1000)

    assert error.details is not None
    assert len(error.details["problems"]) == 20
    assert error.details["problems"][-1]["field"] == "data[9].size"


async def test_the_outer_form_is_checked_before_the_rows(app: App) -> None:
    for arguments, where in [
        ({"data": [{}], "nope": 1}, "nope"),
        ({"data": []}, "data"),
        ({"data": [{}] * 1001}, "data"),
        ({"data": {"name": "n"}}, "data"),
        ({}, "data"),
    ]:
        assert (await app.refusal("bulk_create", **arguments)).field == where


WIDE = Model(
    "Wide",
    "wide",
    "",
    (
        field("id", Kind.TEXT),
        *(field(f"text{at}", Kind.TEXT) for at in range(10)),
        *(field(f"price{at}", Kind.DECIMAL) for at in range(10)),
        *(field(f"moment{at}", Kind.DATETIME) for at in range(10)),
        *(field(f"things{at}", Kind.ARRAY) for at in range(10)),
        field("created_at", Kind.DATETIME, **KEPT),
        field("updated_at", Kind.DATETIME, **KEPT),
    ),
    unique_keys=(("id",),),
)
SAMPLES = {
    Kind.TEXT: "text",
    Kind.DECIMAL: "19.90",
    Kind.DATETIME: "2026-03-01T09:30:00+01:00",
    Kind.ARRAY: [1, "two", None],
}


async def test_a_large_bulk_call_and_a_large_page_let_others_run_meanwhile(
    tmp_path: Path,
) -> None:
    async with running_store(tmp_path / "wide.db", WIDE) as store:
        await check_turns(App(store, WIDE))


async def check_turns(app: App) -> None:
    row = {each.name: SAMPLES[each.type.kind] for each in WIDE.writable}
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    created = await app.run[Operation.BULK_CREATE]({"data": [row] * 1000})
    after_create = turns
    listed = await app.run[Operation.LIST]({"limit": 1000})
    other.cancel()
    await asyncio.wait({other})

    assert created["created"] == listed["count"] == 1000
    assert after_create > 0
    assert turns > after_create


async def test_a_cursor_tells_instants_apart_to_the_microsecond(app: App, tmp_path: Path) -> None:
    await app.fill(3)
    with closing(sqlite3.connect(tmp_path / "things.db")) as connection:
        for at in range(3):
            moment = f"2026-03-01 00:00:00.00000{at + 1}"
            connection.execute(
                "UPDATE things SET created_at = ? WHERE id = ?", [moment, f"t{at:02}"]
            )
        connection.commit()

    assert await app.walk(sort=["-created_at"], limit=1) == ["t02", "t01", "t00"]
