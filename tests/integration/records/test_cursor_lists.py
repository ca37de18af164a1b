"""Cursors continue the list that they came from, whatever happens meanwhile, and no other."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.results import result_schema
from tests.integration.records.trap_app import Json, TrapApp
from tests.json_schema import check_value

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEGABYTE = "x" * 2**20


async def fill(app: TrapApp, *numbers: int) -> None:
    """Seats of one row with these numbers, whose ids say the same."""
    rows = [{"id": f"a{number:03}", "row": "a", "number": number} for number in numbers]
    if rows:
        await app.call("TrapSeat", "bulk_create", data=rows)


def numbers(page: Json) -> list[int]:
    return [record["number"] for record in page["records"]]


async def walk(app: TrapApp, model: str, **request: Any) -> list[Json]:
    """All pages of a list."""
    pages = [await app.call(model, "list", **request)]
    while "next_cursor" in pages[-1]:
        pages.append(await app.call(model, "list", **request, cursor=pages[-1]["next_cursor"]))
    return pages


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4])]
)
async def test_there_is_a_next_cursor_exactly_when_more_records_follow(
    app: TrapApp, count: int, sizes: list[int]
) -> None:
    await fill(app, *range(count))

    pages = await walk(app, "TrapSeat", sort=["-number"], limit=4, include_total=True)

    assert [page["count"] for page in pages] == sizes
    assert {page["total"] for page in pages} == {count}
    for page in pages:
        schema = result_schema(app.models["TrapSeat"], Operation.LIST)
        check_value(schema, page)


@pytest.mark.parametrize("sort", [["number"], ["row", "number"], ["-guest", "number"], []])
async def test_records_made_and_deleted_between_pages_shift_no_other(
    app: TrapApp, sort: list[str]
) -> None:
    await fill(app, 10, 20, 30, 40, 50, 60)
    first = await app.call("TrapSeat", "list", sort=sort, limit=3)
    # The last record of the page goes, and so do one before it and one behind it.
    await app.call("TrapSeat", "bulk_delete", ids=["a030", "a010", "a050"])
    await fill(app, 5, 25, 45, 70)

    second = await app.call("TrapSeat", "list", sort=sort, limit=3, cursor=first["next_cursor"])
    third = await app.call("TrapSeat", "list", sort=sort, limit=3, cursor=second["next_cursor"])

    assert [numbers(page) for page in (first, second, third)] == [
        [10, 20, 30],
        [40, 45, 60],
        [70],
    ]


async def test_a_page_by_cursor_may_have_another_limit_other_fields_and_a_total(
    app: TrapApp,
) -> None:
    await fill(app, *range(10))
    first = await app.call("TrapSeat", "list", sort=["number"], limit=2, fields=["guest"])

    second = await app.call(
        "TrapSeat",
        "list",
        sort=["number"],
        limit=5,
        fields=["number"],
        include_total=True,
        cursor=first["next_cursor"],
    )

    assert first["records"] == [{"guest": None}] * 2
    assert second["records"] == [{"number": number} for number in range(2, 7)]
    assert (second["count"], second["limit"], second["total"]) == (5, 5, 10)


async def test_a_cursor_may_be_used_again(app: TrapApp) -> None:
    await fill(app, *range(5))
    cursor = (await app.call("TrapSeat", "list", limit=2))["next_cursor"]

    again = [await app.call("TrapSeat", "list", limit=2, cursor=cursor) for _ in range(2)]

    assert again[0] == again[1]


OTHER_LISTS: list[Json] = [
    {"sort": ["-number"]},
    {"sort": ["number", "row"]},
    {"sort": ["number", "-id"]},
    {"sort": ["guest"]},
    {"sort": []},
    {"filter": {"row": "b"}},
    {"filter": {"row": {"$ne": "a"}}},
    {"filter": {}},
    {"filter": {"row": "a", "number": {"$gte": 0}}},
]


@pytest.mark.parametrize("other", OTHER_LISTS)
async def test_a_cursor_continues_no_list_with_another_filter_or_order(
    app: TrapApp, other: Json
) -> None:
    await fill(app, *range(4))
    request: Json = {"sort": ["number"], "filter": {"row": "a"}, "limit": 2}
    cursor = (await app.call("TrapSeat", "list", **request))["next_cursor"]

    error = await app.refusal("TrapSeat", "list", **{**request, **other}, cursor=cursor)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "cursor"


async def test_a_cursor_continues_no_list_of_another_model(app: TrapApp) -> None:
    await fill(app, 1, 2)
    await app.call("TrapArchive", "bulk_create", data=[{"code": "a"}, {"code": "b"}])
    cursor = (await app.call("TrapSeat", "list", limit=1))["next_cursor"]

    error = await app.refusal("TrapArchive", "list", limit=1, cursor=cursor)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "cursor"


async def test_a_forged_cursor_is_refused(app: TrapApp) -> None:
    await fill(app, 1, 2, 3)
    cursor = (await app.call("TrapSeat", "list", limit=1))["next_cursor"]
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    changed = [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in range(len(raw))]
    forged: list[Any] = [
        base64.urlsafe_b64encode(each).rstrip(b"=").decode()
        for each in (*changed, raw[:-1], raw + b"\x00", raw[1:], b"", raw * 2)
    ]
    forged += [cursor + "=", cursor + " ", cursor + "\n", "." + cursor, cursor[:-1], cursor.upper()]
    forged += ["", "0", "x" * 100_000, "\x00", "\ud800", "ä", "' OR 1=1 --", "null", "{}", "a003"]
    forged += [None, 1, True, [cursor], {"id": "a001"}]

    for each in forged:
        error = await app.refusal("TrapSeat", "list", limit=1, cursor=each)

        assert isinstance(error, InvalidArgumentsError), each
        assert error.field == "cursor"
        assert len(error.message) < 500


async def test_only_a_list_takes_a_cursor_and_not_beside_an_offset(app: TrapApp) -> None:
    await fill(app, 1, 2)
    cursor = (await app.call("TrapSeat", "list", limit=1))["next_cursor"]
    calls: list[tuple[str, Json]] = [
        ("list", {"offset": 1}),
        ("list", {"offset": 0}),
        ("count", {}),
        ("read", {"id": "a001"}),
        ("bulk_delete", {"ids": ["a001"]}),
    ]
    for operation, arguments in calls:
        error = await app.refusal("TrapSeat", operation, **arguments, cursor=cursor)

        assert isinstance(error, InvalidArgumentsError), operation
        assert error.field == "cursor"


async def test_a_page_ends_where_its_records_grow_too_large_and_a_cursor_goes_on(
    app: TrapApp,
) -> None:
    for number in range(12):
        row = {"row": "a", "number": number, "guest": MEGABYTE}
        await app.call("TrapSeat", "create", data=row)

    pages = await walk(app, "TrapSeat", sort=["-number"], limit=20)
    small = await app.call("TrapSeat", "list", sort=["-number"], limit=20, fields=["number"])

    assert len(pages) == 2
    assert [number for page in pages for number in numbers(page)] == [*range(11, -1, -1)]
    assert all(len(page["records"]) == page["count"] < 12 for page in pages)
    assert numbers(small) == [*range(11, -1, -1)]


async def test_behind_a_value_that_is_too_long_for_a_cursor_the_result_says_how_to_go_on(
    app: TrapApp,
) -> None:
    rows = [{"row": "a", "number": number, "guest": MEGABYTE} for number in range(3)]
    await app.call("TrapSeat", "bulk_create", data=rows)

    first = await app.call("TrapSeat", "list", sort=["guest", "number"], limit=2)
    rest = await app.call("TrapSeat", "list", sort=["guest", "number"], limit=2, offset=2)

    assert "next_cursor" not in first
    assert "offset" in first["no_next_cursor"]
    assert numbers(first) + numbers(rest) == [0, 1, 2]
    assert "no_next_cursor" not in rest
