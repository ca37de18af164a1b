from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.model import Field, Row
from kailash_mcp_prod.records.paging import following
from kailash_mcp_prod.records.query import All, Comparison, Sort, holds, sort_rows
from kailash_mcp_prod.records.types import FieldType, Kind

CHOICES = (2, 10, "b", "B", "1")
# Few values of each kind, so that there are ties.
VALUES: dict[Kind, tuple[Any, ...]] = {
    Kind.TEXT: ("", "a", "B", "é", "a\u0301", "10", "9"),
    Kind.INTEGER: (-1, 0, 2**31 - 1),
    Kind.FLOAT: (-0.5, 0.1, 1e30),
    Kind.BOOLEAN: (False, True),
    Kind.DATETIME: tuple(
        datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=hours))) for hours in (0, 2, -7)
    ),
    Kind.DATE: (date(1999, 12, 31), date(2026, 3, 1)),
    Kind.DECIMAL: (Decimal("9"), Decimal("10"), Decimal("10.00"), Decimal("-0.1")),
    Kind.UUID: (UUID(int=1), UUID(int=2**127), UUID("ffffffff-0000-4000-8000-000000000000")),
    Kind.CHOICE: CHOICES,
}


def a_field(name: str, kind: Kind, *, may_be_null: bool) -> Field:
    choices = CHOICES if kind is Kind.CHOICE else ()
    field_type = FieldType(kind, nullable=may_be_null, choices=choices)
    return Field(name, field_type, "", required=not may_be_null)


KEY = a_field("id", Kind.TEXT, may_be_null=True)
NULLABLE = tuple(a_field(f"{kind}_or_null", kind, may_be_null=True) for kind in VALUES)
REQUIRED = tuple(a_field(str(kind), kind, may_be_null=False) for kind in VALUES)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Sort, ...]:
    """A total order by up to three fields and the key, each in either direction."""
    fields = draw(
        st.lists(st.sampled_from(NULLABLE + REQUIRED), max_size=3, unique_by=lambda each: each.name)
    )
    return tuple(Sort(field, descending=draw(st.booleans())) for field in (*fields, KEY))


@st.composite
def rows_of(draw: st.DrawFn, order: tuple[Sort, ...]) -> list[Row]:
    """Rows with the fields of an order, some of them null where they may be."""
    keys = draw(st.lists(st.text(max_size=3), max_size=12, unique=True))
    columns = {
        sort.field.name: st.sampled_from(
            VALUES[sort.field.type.kind] + ((None,) if sort.field.may_be_null else ())
        )
        for sort in order[:-1]
    }
    return [{**draw(st.fixed_dictionaries(columns)), "id": key} for key in keys]


@given(st.data())
def test_exactly_the_rows_after_a_row_follow_it(data: st.DataObject) -> None:
    order = data.draw(orders())
    rows = sort_rows(data.draw(rows_of(order)), order)

    for position, row in enumerate(rows):
        after = following(order, [row[sort.field.name] for sort in order])
        assert [each for each in rows if holds(after, each) is True] == rows[position + 1 :]


@given(st.data())
def test_pages_behind_each_other_show_each_row_once(data: st.DataObject) -> None:
    order = data.draw(orders())
    rows = data.draw(rows_of(order))
    size = data.draw(st.integers(1, 4))

    shown = sort_rows(rows, order)[:size]
    while len(shown) < len(rows):
        after = following(order, [shown[-1][sort.field.name] for sort in order])
        page = sort_rows((each for each in rows if holds(after, each) is True), order)[:size]
        assert page
        shown += page

    assert shown == sort_rows(rows, order)


def test_a_row_that_was_deleted_meanwhile_still_marks_its_place() -> None:
    order = (Sort(a_field("qty", Kind.INTEGER, may_be_null=True)), Sort(KEY))
    rows: list[Row] = [{"qty": 1, "id": "a"}, {"qty": 2, "id": "a"}, {"qty": None, "id": "a"}]

    after = following(order, [1, "b"])

    assert [row["qty"] for row in rows if holds(after, row) is True] == [2, None]


def test_a_field_that_is_never_null_bounds_the_rows_at_the_top() -> None:
    required = a_field("qty", Kind.INTEGER, may_be_null=False)
    order = (Sort(required, descending=True), Sort(KEY))

    after = following(order, [5, "k"])

    assert holds(after, {"qty": 5, "id": "k"}) is False
    assert holds(after, {"qty": 5, "id": "l"}) is True
    assert holds(after, {"qty": 4, "id": "a"}) is True
    assert isinstance(after, All)
    assert after.parts[0] == Comparison(required, "$lte", 5)
