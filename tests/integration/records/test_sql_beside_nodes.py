"""DataFlow's own nodes and `SqlStore` on the same tables: each reads what the other wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.records.trap_app import Json, TrapApp, running_trap_app
from tests.integration.records.trap_values import BASE

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOMENTS = [
    "2026-03-01T09:30:00+00:00",
    "2026-03-01T09:30:00.000001+00:00",
    "2026-03-01T09:30:00.500000+00:00",
    "1999-12-31T23:59:59+00:00",
]
AMOUNTS = ["10", "9.50", "9.5", "-3.000001", "0"]
ROWS: list[Json] = [
    {
        "id": f"r{at}",
        "text": ["b", "B", "é", "", "'"][at],
        "whole": [3, -1, 2**31 - 1, 0, None][at],
        "real": [0.1, -2.5, 1e10, 0.0, None][at],
        "flag": [True, False, None, True, False][at],
        "moment": [*MOMENTS, None][at],
        "day": ["2026-03-01", "1999-12-31", None, "2000-02-29", "2026-02-28"][at],
        "amount": AMOUNTS[at],
        "token": f"00000000-0000-0000-0000-00000000000{at}",
        "colour": ["red", "green", None, "red", "green"][at],
        "rank": [9, 10, None, 10, 9][at],
        "free": [{"a": [1, None, 0.5]}, {}, None, {"é": {"b": True}}, {"n": 2**40}][at],
        "things": [[1, "x"], [], None, [[]], [{"a": 1}]][at],
        "words": [["a", "b"], [], None, [""], ["é"]][at],
        "amounts": [["1.50", "2"], [], None, ["0"], ["-1"]][at],
        "blob": ["AAH/", "", None, "AA==", "/w=="][at],
    }
    for at in range(5)
]
FILTERS: list[Json] = [
    {},
    {"flag": True},
    {"flag": {"$ne": True}},
    {"moment": MOMENTS[0]},
    {"moment": {"$gt": MOMENTS[0]}},
    {"moment": {"$lte": MOMENTS[1]}},
    {"amount": "9.500"},
    {"amount": {"$gt": "9"}},
    {"amount": {"$in": ["10.0", "0.00"]}},
    {"day": {"$lt": "2026-01-01"}},
    {"real": 0.1},
    {"whole": {"$gte": 0}},
    {"token": "00000000-0000-0000-0000-000000000003"},
    {"colour": "red"},
    {"rank": {"$in": [9]}},
    {"text": {"$ilike": "B"}},
    {"$or": [{"flag": {"$null": True}}, {"$not": {"whole": {"$lt": 3}}}]},
]
SORTS = [["moment"], ["-moment"], ["amount"], ["-amount"], ["real"], ["-day"], ["flag"], ["-text"]]


class Pair:
    """The same tables by statements of ours and by DataFlow's nodes."""

    def __init__(self, sql: TrapApp, nodes: TrapApp) -> None:
        self.apps = {"sql": sql, "nodes": nodes}

    def in_turn(self, writer: str) -> tuple[TrapApp, TrapApp]:
        """The one that writes, and the other one."""
        return self.apps[writer], self.apps["nodes" if writer == "sql" else "sql"]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["sqlite", "postgresql"])
async def shared_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("beside")
        async with running_pair(f"sqlite:///{folder / 'both.db'}") as pair:
            yield pair
        return
    with request.getfixturevalue("postgres_server").database() as url:
        async with running_pair(url) as pair:
            yield pair


@asynccontextmanager
async def running_pair(url: str) -> AsyncIterator[Pair]:
    async with running_trap_app(url, "sql") as sql, running_trap_app(url, "nodes") as nodes:
        yield Pair(sql, nodes)


@pytest.fixture(params=["sql", "nodes"])
def apps(request: pytest.FixtureRequest, shared_pair: Pair) -> tuple[TrapApp, TrapApp]:
    """The application that writes, and the one that reads; their tables are empty."""
    shared_pair.apps["sql"].tables.clear()
    return shared_pair.in_turn(request.param)


Apps = tuple[TrapApp, TrapApp]


async def test_every_type_is_read_as_it_was_written(apps: Apps) -> None:
    writer, reader = apps
    created = await writer.call("TrapSample", "create", data={**BASE, "id": "x"})
    await writer.call("TrapOption", "bulk_create", data=ROWS)

    assert await reader.call("TrapSample", "read", id="x") == created
    for row in ROWS:
        shown = await reader.call("TrapOption", "read", id=row["id"])
        assert shown == await writer.call("TrapOption", "read", id=row["id"])
        assert {name: shown[name] for name in row} == row


@pytest.mark.parametrize("condition", FILTERS, ids=str)
async def test_filters_select_the_same_rows(apps: Apps, condition: Json) -> None:
    writer, reader = apps
    await writer.call("TrapOption", "bulk_create", data=ROWS)
    asked: Json = {"filter": condition, "include_total": True}

    found = await reader.call("TrapOption", "list", **asked)

    assert found == await writer.call("TrapOption", "list", **asked)
    assert found["total"] == found["count"]


@pytest.mark.parametrize("sort", SORTS, ids=str)
async def test_sorted_pages_are_the_same(apps: Apps, sort: list[str]) -> None:
    writer, reader = apps
    await writer.call("TrapOption", "bulk_create", data=ROWS)
    orders = []
    for app in (writer, reader):
        page = await app.call("TrapOption", "list", sort=sort, limit=2)
        order = [each["id"] for each in page["records"]]
        while "next_cursor" in page:
            page = await app.call(
                "TrapOption", "list", sort=sort, limit=2, cursor=page["next_cursor"]
            )
            order += [each["id"] for each in page["records"]]
        orders.append(order)

    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [row["id"] for row in ROWS]


CHANGES: list[Json] = [
    {"moment": MOMENTS[2], "flag": False},
    {"amount": "0.10", "real": 0.2},
    {"free": {"changed": [True]}, "things": None, "words": ["x"]},
    {"day": None, "token": None, "colour": None, "rank": 10, "blob": "AQ=="},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_changes_of_one_are_seen_and_expected_by_the_other(apps: Apps, change: Json) -> None:
    writer, reader = apps
    await reader.call("TrapOption", "bulk_create", data=ROWS)
    changed = await writer.call("TrapOption", "update", id="r0", data=change)

    again = await reader.call(
        "TrapOption", "update", id="r0", data={"text": "seen"}, expected=change
    )

    assert {name: again[name] for name in change} == change
    assert {**changed, "text": "seen", "updated_at": again["updated_at"]} == again


async def test_times_of_creation_and_change_are_instants_of_now_for_both(apps: Apps) -> None:
    writer, reader = apps
    before = datetime.now(UTC).replace(microsecond=0)
    await writer.call("TrapOption", "create", data={"id": "x"})
    created = await reader.call("TrapOption", "read", id="x")
    await reader.call("TrapOption", "update", id="x", data={"text": "t"})
    changed = await writer.call("TrapOption", "read", id="x")

    for stamp in (created["created_at"], created["updated_at"], changed["updated_at"]):
        assert before <= datetime.fromisoformat(stamp) <= datetime.now(UTC)
    assert changed["created_at"] == created["created_at"]


async def test_unique_keys_of_one_are_respected_by_the_other(apps: Apps) -> None:
    writer, reader = apps
    made = await writer.call("TrapCounter", "create", data={"label": "x", "value": 1})

    upserted = await reader.call("TrapCounter", "upsert", data={"label": "x", "value": 2})
    many = await reader.call("TrapCounter", "bulk_upsert", data=[{"label": "x"}, {"label": "y"}])
    refused = await reader.refusal("TrapCounter", "create", data={"label": "y"})

    assert (upserted["id"], upserted["created"]) == (made["id"], False)
    assert (many["created"], many["updated"]) == (1, 1)
    assert refused.code == "conflict"
    assert await writer.call("TrapCounter", "count") == {"count": 2}


async def test_what_one_deletes_softly_is_gone_for_the_other(apps: Apps) -> None:
    writer, reader = apps
    await writer.call(
        "TrapArchive", "bulk_create", data=[{"id": each, "code": each} for each in "abc"]
    )

    await writer.call("TrapArchive", "delete", id="a")
    await writer.call("TrapArchive", "bulk_delete", ids=["b"])

    listed = await reader.call("TrapArchive", "list")
    assert [each["id"] for each in listed["records"]] == ["c"]
    assert (await reader.refusal("TrapArchive", "read", id="a")).code == "not_found"
    assert (await reader.refusal("TrapArchive", "create", data={"code": "b"})).code == "conflict"
    assert len(reader.tables.rows("TrapArchive")) == 3


async def test_defaults_and_reserved_names_are_the_same_for_both(apps: Apps) -> None:
    writer, reader = apps
    default = await writer.call("TrapDefault", "create", data={"id": "x"})
    reserved = await writer.call(
        "TrapReserved", "create", data={"id": "x", "order": 1, "group": "g", "createdBy": "me"}
    )

    assert await reader.call("TrapDefault", "read", id="x") == default
    assert await reader.call("TrapReserved", "read", id="x") == reserved


async def test_decimals_of_one_are_exact_for_the_other(apps: Apps) -> None:
    writer, reader = apps
    exact = ["12345678901234567890.123456789012345678", "-0.000000000000000001", "1.10"]
    rows = [{"id": f"d{at}", "amount": each} for at, each in enumerate(exact)]
    await writer.call("TrapOption", "bulk_create", data=rows)

    listed = await reader.call("TrapOption", "list", sort=["-amount"])

    assert [each["amount"] for each in listed["records"]] == sorted(
        exact, key=Decimal, reverse=True
    )
    for each in exact:
        found: Any = await reader.call("TrapOption", "count", filter={"amount": each})
        assert found == {"count": 1}
