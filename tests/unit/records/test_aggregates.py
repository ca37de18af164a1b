from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.aggregates import (
    Function,
    Group,
    Measure,
    group_to_json,
    groupable,
    measurable,
    parse_aggregation,
)
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind

FIELDS = [
    Field(name, FieldType(kind, nullable=True), "", required=False)
    for name, kind in {
        **{str(kind): kind for kind in Kind},
        "count": Kind.INTEGER,
    }.items()
]
KEY = Field("id", FieldType(Kind.TEXT), "", required=False)
MODEL = Model("Thing", "things", "", (KEY, *FIELDS))


def test_what_can_be_measured_follows_from_the_kind() -> None:
    numbers = ["integer", "float", "decimal", "count"]
    without_order = {"boolean", "uuid", "choice"}
    scalars = [each.name for each in MODEL.fields if each.name not in {"object", "array", "bytes"}]

    assert groupable(MODEL) == measurable(MODEL, Function.COUNT_DISTINCT) == scalars
    for function in (Function.SUM, Function.AVG):
        assert measurable(MODEL, function) == numbers
    for function in (Function.MIN, Function.MAX):
        assert measurable(MODEL, function) == [
            each for each in scalars if each not in without_order
        ]


def order(**asked: Any) -> list[tuple[str, bool]]:
    found = []
    for each in parse_aggregation(MODEL, asked).sort:
        match each.by:
            case None:
                name = "the count"
            case Measure(function=function, field=field):
                name = f"{function} of {field.name}"
            case Field():
                name = each.by.name
        found.append((name, each.descending))
    return found


def test_the_fields_of_group_by_end_every_order() -> None:
    asked = {"group_by": ["text", "date"], "sum": ["decimal"]}

    assert order() == []
    assert order(**asked) == [("text", False), ("date", False)]
    assert order(**asked, sort=["-sum.decimal", "-date"]) == [
        ("sum of decimal", True),
        ("date", True),
        ("text", False),
    ]


def test_a_field_called_count_is_told_from_the_count() -> None:
    asked = {"group_by": ["count"], "max": ["count"]}

    assert order(**asked, sort=["-count"]) == [("the count", True), ("count", False)]
    assert order(**asked, sort=["-by.count", "max.count"]) == [
        ("count", True),
        ("max of count", False),
    ]


def test_a_group_says_only_what_was_asked_for() -> None:
    asked = parse_aggregation(MODEL, {"group_by": ["text"], "avg": ["integer"], "min": ["date"]})

    assert group_to_json(asked, Group(("a",), 3, (1.5, None))) == {
        "by": {"text": "a"},
        "count": 3,
        "avg": {"integer": 1.5},
        "min": {"date": None},
    }


def test_an_unknown_order_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidArgumentsError, match="can't be sorted by 'float'") as refused:
        parse_aggregation(MODEL, {"group_by": ["text"], "sort": ["count", "-float"]})

    assert refused.value.field == "sort[1]"
    assert refused.value.details == {"choices": ["count", "text"]}
