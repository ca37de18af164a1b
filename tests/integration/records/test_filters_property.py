"""Generated filters, sort orders and pages, held against an oracle in Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.query import holds, sort_rows
from tests.integration.records.property_values import (
    PROFILE,
    SORTABLE,
    TIMESTAMPS,
    canonical,
    conditions,
    orders,
    tables,
)
from tests.integration.records.trap_app import Json, TrapApp
from tests.integration.records.trap_oracle import truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

MODEL = "TrapMatter"


async def stored(app: TrapApp) -> list[Json]:
    listed = await app.call(MODEL, "list", limit=1000)
    records: list[Json] = listed["records"]
    return records


async def filled(app: TrapApp, rows: list[Json]) -> list[Json]:
    """The records that the table holds after it was emptied and the rows were inserted."""
    app.tables.clear()
    await app.call(MODEL, "bulk_create", data=rows)
    return await stored(app)


def python_form(model: Model, records: Iterable[Json]) -> list[Row]:
    return [
        {name: kind.from_json(record[name]) for name, kind in model.types.items()}
        for record in records
    ]


def selected(app: TrapApp, records: list[Json], condition: Json, sort: list[str]) -> list[str]:
    """The ids that a filter selects, in order, by both oracles."""
    model = app.models[MODEL]
    parsed = parse_filter(model, condition)
    rows = [row for row in python_form(model, records) if holds(parsed, row) is True]
    independent = {record["id"] for record in records if truth(condition, record) is True}
    assert {row["id"] for row in rows} == independent
    return [row["id"] for row in sort_rows(rows, parse_sort(model, sort))]


def ids(records: Iterable[Json]) -> list[str]:
    return [record["id"] for record in records]


@settings(PROFILE, max_examples=16)
@given(rows=tables())
async def test_generated_rows_are_stored_as_they_were_given(app: TrapApp, rows: list[Json]) -> None:
    records = {record["id"]: record for record in await filled(app, rows)}

    assert len(records) == len(rows)
    for row in rows:
        record = records[row["id"]]
        given_values = {
            name: canonical(name, row.get(name)) for name in record if name not in TIMESTAMPS
        }
        assert {name: record[name] for name in given_values} == given_values


@settings(PROFILE, max_examples=9)
@given(data=st.data())
async def test_generated_filters_and_orders_select_what_the_oracle_does(
    app: TrapApp, data: st.DataObject
) -> None:
    records = await filled(app, data.draw(tables()))
    for _ in range(16):
        condition = data.draw(conditions(records))
        sort = data.draw(orders())
        expected = selected(app, records, condition, sort)

        listed = await app.call(
            MODEL, "list", filter=condition, sort=sort, limit=1000, include_total=True
        )
        counted = await app.call(MODEL, "count", filter=condition)

        assert ids(listed["records"]) == expected, (condition, sort)
        assert listed["total"] == listed["count"] == counted["count"] == len(expected)
        assert all(record in records for record in listed["records"])


@settings(PROFILE, max_examples=10)
@given(data=st.data())
async def test_generated_bulk_writes_change_what_their_filter_selects(
    app: TrapApp, data: st.DataObject
) -> None:
    records = await filled(app, data.draw(tables()))
    for mark in range(10, 13):
        condition = data.draw(conditions(records))
        expected = selected(app, records, condition, [])

        result = await app.call(MODEL, "bulk_update", filter=condition, data={"mark": mark})

        now = await stored(app)
        assert sorted(result["ids"]) == sorted(expected)
        assert without_update_time(now) == without_update_time(
            [each | ({"mark": mark} if each["id"] in expected else {}) for each in records]
        )
        records = now
    while records:
        condition = data.draw(conditions(records))
        expected = selected(app, records, condition, [])
        if not expected:
            condition = {"id": records[0]["id"]}
            expected = [records[0]["id"]]

        result = await app.call(MODEL, "bulk_delete", filter=condition)

        assert sorted(result["ids"]) == sorted(expected), condition
        records = [each for each in records if each["id"] not in expected]
        assert await stored(app) == records


def without_update_time(records: list[Json]) -> list[Json]:
    return [
        {name: value for name, value in record.items() if name != "updated_at"}
        for record in records
    ]


@settings(PROFILE, max_examples=9)
@given(data=st.data())
async def test_generated_pages_hold_each_record_once_and_in_order(
    app: TrapApp, data: st.DataObject
) -> None:
    records = {each["id"]: each for each in await filled(app, data.draw(tables()))}
    for _ in range(3):
        condition = data.draw(st.just({}) | conditions([*records.values()], depth=2))
        sort = data.draw(orders())
        limit = data.draw(st.integers(1, 5))
        fields = data.draw(st.lists(st.sampled_from(SORTABLE), min_size=1, unique=True))
        expected = selected(app, [*records.values()], condition, sort)
        request: Json = {"filter": condition, "sort": sort, "limit": limit, "fields": fields}

        by_offset = [
            await app.call(MODEL, "list", **request, offset=offset, include_total=True)
            for offset in range(0, len(expected) + 1, limit)
        ]
        by_cursor = [page async for page in pages(app, request)]

        wanted = [{name: records[key][name] for name in fields} for key in expected]
        for visited in (by_offset, by_cursor):
            assert [each for page in visited for each in page["records"]] == wanted, request
        assert {page["total"] for page in by_offset} == {len(expected)}
        assert all(page["count"] == limit for page in by_cursor[:-1])
        assert len(by_cursor) == max(1, -(-len(expected) // limit))


async def pages(app: TrapApp, request: Json) -> Any:
    """Every page of a list, each by the cursor of the one before."""
    page = await app.call(MODEL, "list", **request)
    yield page
    while "next_cursor" in page:
        page = await app.call(MODEL, "list", **request, cursor=page["next_cursor"])
        yield page


# Texts as other programs write them into the columns that DataFlow makes, in their order.
FOREIGN_INSTANTS = {
    "sqlite": [
        "2026-03-01T09:29:59.999999",
        "2026-03-01 11:30:00+02:00",
        "2026-03-01T09:30:00.000Z",
        "2026-03-01 09:30:00.5",
        "2026-03-01T01:30:01-08:00",
        "2026-03-01 09:30:01.000001",
    ],
    "postgresql": [
        "2026-03-01 09:29:59.999999",
        "2026-03-01 09:30:00",
        "2026-03-01 09:30:00.000",
        "2026-03-01 09:30:00.5",
        "2026-03-01 09:30:01",
        "2026-03-01 09:30:01.000001",
    ],
}
FOREIGN_NUMBERS = ["-1E+2", "-0.50", "0.3", "3e-1", "+2", "010.0"]


async def test_what_others_wrote_compares_by_its_meaning(app: TrapApp) -> None:
    rows = [{"id": f"r{n}", "level": n, "label": "x", "price": "1", "kind": "a"} for n in range(6)]
    await app.call(MODEL, "bulk_create", data=rows)
    foreign = zip(FOREIGN_INSTANTS[app.dialect], FOREIGN_NUMBERS, strict=True)
    for n, (moment, amount) in enumerate(foreign):
        app.tables.execute(
            f"UPDATE trap_matters SET moment = '{moment}', amount = '{amount}' WHERE id = 'r{n}'"
        )
    half_past = "2026-03-01T10:30:00+01:00"
    cases: list[tuple[Json, list[str]]] = [
        ({"moment": half_past}, ["r1", "r2"]),
        ({"moment": {"$in": [half_past]}}, ["r1", "r2"]),
        ({"moment": {"$ne": half_past}}, ["r0", "r3", "r4", "r5"]),
        ({"moment": {"$gt": half_past}}, ["r3", "r4", "r5"]),
        ({"moment": {"$lte": half_past}}, ["r0", "r1", "r2"]),
        ({"amount": "0.30"}, ["r2", "r3"]),
        ({"amount": {"$lt": 0}}, ["r0", "r1"]),
        ({"amount": {"$gte": "2.0"}}, ["r4", "r5"]),
        ({"amount": {"$in": [2, "10"]}}, ["r4", "r5"]),
    ]
    for condition, expected in cases:
        listed = await app.call(MODEL, "list", filter=condition)
        assert ids(listed["records"]) == expected, condition
    for sort in (["amount"], ["moment"]):
        for limit in (2, 6):
            request: Json = {"sort": sort, "limit": limit}
            walked = [each async for page in pages(app, request) for each in page["records"]]
            assert ids(walked) == [f"r{n}" for n in range(6)], sort
            backwards = {**request, "sort": [f"-{sort[0]}", "-id"]}
            walked = [each async for page in pages(app, backwards) for each in page["records"]]
            assert ids(walked) == [f"r{n}" for n in range(5, -1, -1)], sort


LETTERS = ["ä", "Ö", "é", "Я", "Ω", "λ", "ß", "ñ", "Ş", "Đ", "ﬁ", "Ａ", "ԱԲ", "ⓐ", "𐐀"]


@pytest.mark.parametrize("operator", ["$ilike", "$like"])
async def test_letters_of_all_scripts_have_a_case(app: TrapApp, operator: str) -> None:
    texts = [text for letter in LETTERS for text in (letter.lower(), letter.upper(), f"x{letter}")]
    rows = [{"level": n, "label": text, "price": "1", "kind": "a"} for n, text in enumerate(texts)]
    records = await filled(app, rows)
    for letter in LETTERS:
        for pattern in (letter.lower(), letter.upper(), f"_{letter}", f"%{letter.upper()}%"):
            condition = {"label": {operator: pattern}}
            listed = await app.call(MODEL, "list", filter=condition, limit=1000)
            assert ids(listed["records"]) == selected(app, records, condition, []), condition
