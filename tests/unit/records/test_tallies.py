from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from kailash_mcp_prod.records import pages
from kailash_mcp_prod.records.aggregates import Group, Groups, parse_aggregation
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.tallies import Tallies
from kailash_mcp_prod.records.types import FieldType, Kind

KINDS = {
    "text": FieldType(Kind.TEXT, nullable=True),
    "whole": FieldType(Kind.INTEGER, nullable=True),
    "real": FieldType(Kind.FLOAT, nullable=True),
    "amount": FieldType(Kind.DECIMAL, nullable=True),
    "moment": FieldType(Kind.DATETIME, nullable=True),
    "choice": FieldType(Kind.CHOICE, nullable=True, choices=(True, 1, "1", "a")),
}
MODEL = Model(
    "Thing",
    "things",
    "",
    (
        Field("id", FieldType(Kind.TEXT), "", required=False),
        *(Field(name, kind, "", required=False) for name, kind in KINDS.items()),
    ),
)


def tallied(rows: list[dict[str, Any]], **asked: Any) -> Groups:
    tallies = Tallies(parse_aggregation(MODEL, asked))
    for row in rows:
        tallies.add({**dict.fromkeys(MODEL.types), **row})
    return tallies.groups()


def test_of_no_rows_there_is_one_group_or_none() -> None:
    empty = Groups([Group((), 0, (None, None, 0))], more=False)

    assert tallied([], sum=["whole"], max=["text"], count_distinct=["text"]) == empty
    assert tallied([], group_by=["text"]) == Groups([], more=False)


def test_choices_that_python_takes_for_equal_are_apart_as_their_texts_are() -> None:
    rows = [{"choice": value} for value in (True, 1, "1", "a", None, 1)]

    found = tallied(rows, group_by=["choice"], count_distinct=["choice"])

    assert {repr(each.by[0]): each.count for each in found.groups} == {
        "True": 1,
        "1": 3,
        "'a'": 1,
        "None": 1,
    }


def test_measures() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        {"whole": 2, "real": 0.5, "amount": Decimal("1.5"), "moment": at, "text": "b"},
        {"whole": 3, "real": -0.0, "amount": Decimal("1.50"), "text": "B"},
        {},
    ]
    asked = {
        "sum": ["whole", "real", "amount"],
        "avg": ["whole", "real", "amount"],
        "min": ["moment", "text", "amount"],
        "max": ["moment", "text", "amount"],
        "count_distinct": ["amount", "moment"],
    }

    [group] = tallied(rows, **asked).groups

    assert group.count == 3
    assert list(map(str, group.measured)) == [
        *("5", "0.5", "3.00"),
        *("2.5", "0.25", "1.50"),
        *(str(at), "B", "1.50"),
        *(str(at), "b", "1.50"),
        *("1", "1"),
    ]


def test_an_unreadable_number_is_no_group() -> None:
    with pytest.raises(ValueError, match="finite"):
        tallied([{"amount": Decimal("NaN")}], sum=["amount"])


def test_groups_end_where_they_become_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 20)
    rows = [{"text": letter * 9} for letter in "abc"]

    found = tallied(rows, group_by=["text"])

    assert [each.by[0][0] for each in found.groups] == ["a", "b"]
    assert found.more
