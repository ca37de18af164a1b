from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.filters import OPERATORS, operators_for, parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.query import (
    EVERYTHING,
    All,
    AnyOf,
    Comparison,
    Condition,
    Negation,
)
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, ORDERED_KINDS, Kind


@pytest.fixture(scope="module")
def option(traps: dict[str, Model]) -> Model:
    return traps["TrapOption"]


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_has_the_operators_that_mean_something_for_it(kind: Kind) -> None:
    operators = set(operators_for(kind))

    assert "$null" in operators
    assert ({"$eq", "$ne", "$in", "$nin"} <= operators) is (kind in COMPARABLE_KINDS)
    assert ({"$gt", "$gte", "$lt", "$lte"} <= operators) is (kind in ORDERED_KINDS)
    assert ({"$like", "$ilike", "$contains"} <= operators) is (kind is Kind.TEXT)
    assert operators <= set(OPERATORS)


def test_absent_and_empty_filters_select_everything(option: Model) -> None:
    assert parse_filter(option, None) == EVERYTHING
    assert parse_filter(option, {}) == EVERYTHING


def test_a_filter_becomes_a_condition_of_typed_values(option: Model) -> None:
    whole, text = option.field("whole"), option.field("text")
    assert whole is not None
    assert text is not None
    parsed = parse_filter(
        option,
        {
            "whole": {"$gte": 1, "$lt": 5},
            "text": None,
            "$or": [{"text": {"$ne": None}}, {"$not": {"whole": 3}}],
        },
    )

    assert parsed == All(
        (
            Comparison(whole, "$gte", 1),
            Comparison(whole, "$lt", 5),
            Comparison(text, "$null", True),
            AnyOf((Comparison(text, "$null", False), Negation(Comparison(whole, "$eq", 3)))),
        )
    )


def test_a_sort_order_ends_with_the_key(option: Model) -> None:
    def order(sort: list[str] | None) -> list[tuple[str, bool]]:
        return [(each.field.name, each.descending) for each in parse_sort(option, sort)]

    assert order(None) == order([]) == [("id", False)]
    assert order(["-whole", "text"]) == [("whole", True), ("text", False), ("id", False)]
    assert order(["-id"]) == [("id", True)]
    assert order(["text", "id"]) == [("text", False), ("id", False)]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["$and", "$or", "$not", *OPERATORS, "text", "whole", "free"]),
                st.text(max_size=4),
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_whatever_json_is_given_it_is_a_filter_or_refused_with_its_place(
    option: Model, raw: Any
) -> None:
    try:
        condition = parse_filter(option, raw)
    except InvalidArgumentsError as refused:
        place = refused.field
    else:
        place = "filter"
        assert isinstance(condition, Condition)
    assert str(place).startswith("filter")


@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from(["text", "-text", "id", "free"]))))
def test_whatever_texts_are_given_they_are_a_sort_order_or_refused_with_the_place(
    option: Model, raw: list[str]
) -> None:
    try:
        order = parse_sort(option, raw)
    except InvalidArgumentsError as refused:
        place = refused.field
    else:
        place = "sort"
        assert "id" in [each.field.name for each in order]
    assert str(place).startswith("sort")
