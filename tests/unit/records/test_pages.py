from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.model import Field, Model, Row
from kailash_mcp_prod.records.pages import cut, size
from kailash_mcp_prod.records.query import Page, Query
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES
from kailash_mcp_prod.records.types import FieldType, Kind

NOTE = Model(
    name="Note",
    table="notes",
    description="",
    fields=(
        Field("id", FieldType(Kind.TEXT), "", required=False),
        Field("text", FieldType(Kind.TEXT), "", required=True),
    ),
)
HALF = "x" * (MAX_PAGE_BYTES // 2 - 10)


def notes(*texts: str) -> list[Row]:
    return [{"id": str(number), "text": text} for number, text in enumerate(texts)]


@pytest.mark.parametrize(("found", "more"), [(0, False), (2, False), (3, False), (4, True)])
def test_a_page_of_small_rows_ends_at_its_limit(found: int, more: bool) -> None:
    rows = notes(*["a"] * found)

    assert cut(NOTE, Query(limit=3), rows) == Page(rows[:3], more)


def test_a_page_of_large_rows_ends_before_its_limit() -> None:
    rows = notes(HALF, HALF, HALF)

    assert cut(NOTE, Query(limit=3), rows) == Page(rows[:2], more=True)


def test_only_the_fields_that_are_asked_for_count() -> None:
    rows = notes(HALF, HALF, HALF)

    assert cut(NOTE, Query(limit=3, fields=("id",)), rows) == Page(rows, more=False)


def test_the_row_beyond_the_limit_does_not_count() -> None:
    rows = notes(HALF, HALF, HALF)

    assert cut(NOTE, Query(limit=2), rows) == Page(rows[:2], more=True)


def test_a_row_that_is_too_large_alone_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        cut(NOTE, Query(limit=3), notes(HALF * 3, "a"))

    assert caught.value.field == "fields"


def test_a_row_that_is_too_large_alone_ends_the_page_before_it() -> None:
    rows = notes("a", HALF * 3)

    assert cut(NOTE, Query(limit=3), rows) == Page(rows[:1], more=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", 3),
        (b"abcd", 4),
        (None, 8),
        (1.5, 8),
        ([], 0),
        (["ab", 1], 10),
        ({"key": {"inner": "abc"}}, 11),
    ],
)
def test_the_size_of_a_value_is_its_characters_or_bytes(value: object, expected: int) -> None:
    assert size({"value": value, "other": "not asked for"}, ["value"]) == expected
