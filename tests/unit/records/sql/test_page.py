from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import InternalError, InvalidArgumentsError
from kailash_mcp_prod.records.pacing import paced
from kailash_mcp_prod.records.shapes import shape_of
from kailash_mcp_prod.records.sql.page import SqlPage
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES
from tests.unit.records.sql.sample_tables import SAMPLE, table_for


def new_page(limit: int, table: TableSql | None = None) -> SqlPage:
    return SqlPage(table or table_for(SAMPLE), ("integer", "text"), ("integer",), limit)


def filled(
    limit: int, sizes: list[int], table: TableSql | None = None
) -> tuple[SqlPage, list[int]]:
    """A page of rows with texts of these sizes, asked for as a store does, and for how many."""
    page = new_page(limit, table)
    asked = []
    while True:
        wanted = page.rows_to_ask
        assert 0 < wanted <= limit + 1
        start = len(page)
        stored = [(at, "x" * size) for at, size in enumerate(sizes)][start : start + wanted]
        asked.append(wanted)
        if not page.add(stored) or len(stored) < wanted:
            return page, asked


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 8, 20, 49, 50, 1000])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_page_holds_as_many_rows_as_there_are_or_as_it_may(
    limit: int, beyond: int, known: bool
) -> None:
    table = table_for(SAMPLE)
    if known:
        filled(20, [10] * 20, table)

    page, _ = filled(limit, [10] * (limit + beyond), table)

    assert [row["integer"] for row in page.rows] == list(range(min(limit, limit + beyond)))
    assert (len(page), page.more) == (min(limit, limit + beyond), beyond > 0)


def test_few_rows_are_asked_for_as_long_as_their_size_is_not_known() -> None:
    table = table_for(SAMPLE)

    assert filled(20, [10] * 30, table)[1] == [8, 13]
    assert filled(20, [10] * 30, table)[1] == [21]
    assert filled(1000, [10] * 2000, table)[1] == [50, 951]


def test_rows_that_were_large_once_are_asked_for_with_care_for_a_while() -> None:
    table = table_for(SAMPLE)
    filled(20, [MAX_PAGE_BYTES // 4] * 30, table)
    [first, *_] = filled(20, [10] * 30, table)[1]
    for _ in range(60):
        filled(20, [10] * 30, table)

    assert first <= 5
    assert filled(20, [10] * 30, table)[1] == [21]


def test_rows_without_large_columns_are_asked_for_at_once() -> None:
    page = SqlPage(table_for(SAMPLE), ("integer", "boolean"), ("integer",), 1000)

    assert page.rows_to_ask == 1001


def test_a_page_ends_where_it_would_become_too_large() -> None:
    page, _ = filled(1000, [MAX_PAGE_BYTES // 10] * 40)

    assert (len(page), page.more) == (10, True)


def test_a_page_may_be_exactly_as_large_as_allowed() -> None:
    whole, _ = filled(2, [MAX_PAGE_BYTES // 2] * 2)
    cut, _ = filled(2, [MAX_PAGE_BYTES // 2, MAX_PAGE_BYTES // 2 + 1])

    assert (len(whole), whole.more) == (2, False)
    assert (len(cut), cut.more) == (1, True)


def test_further_rows_are_asked_for_by_the_size_of_those_so_far() -> None:
    page = new_page(1000)
    assert page.add([(at, "x" * (MAX_PAGE_BYTES // 200)) for at in range(50)])

    assert page.rows_to_ask in {150, 151}


def test_rows_that_are_large_from_one_on_still_make_a_page() -> None:
    page, _ = filled(1000, [10] * 60 + [MAX_PAGE_BYTES // 4] * 40)

    assert (len(page), page.more) == (63, True)


def test_one_row_that_is_too_large_alone_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        filled(20, [MAX_PAGE_BYTES + 1, 1])

    assert caught.value.field == "fields"


def test_a_later_row_that_is_too_large_alone_is_left_for_the_next_page() -> None:
    page, _ = filled(20, [1, MAX_PAGE_BYTES + 1, 1])

    assert (len(page), page.more) == (1, True)


async def test_rows_hold_the_sort_fields_too_and_records_do_not() -> None:
    page = SqlPage(table_for(SAMPLE), ("decimal", "id"), ("datetime", "id"), 5)
    page.add([("1.5", "a", "2026-03-01 09:30:00"), (None, "b", None)])
    shape = shape_of(SAMPLE).only(["decimal", "id"])

    records = await paced(page.records(shape))

    assert page.columns == ("decimal", "id", "datetime")
    assert page.last() == page.rows[1] == {"decimal": None, "id": "b", "datetime": None}
    assert records == [{"decimal": "1.5", "id": "a"}, {"decimal": None, "id": "b"}]
    assert records == [shape.record(row) for row in page.rows]


@pytest.mark.parametrize("stored", [("a lot", "a"), (b"\xff", "a")])
async def test_what_a_field_cannot_mean_is_an_error_without_the_value(stored: Any) -> None:
    page = SqlPage(table_for(SAMPLE), ("decimal", "id"), ("id",), 5)
    page.add([stored])

    with pytest.raises(InternalError) as caught:
        await paced(page.records(shape_of(SAMPLE)))

    assert "a lot" not in str(caught.value.to_dict("r"))
