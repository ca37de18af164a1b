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


@pytest.mark.parametrize(
    ("raw", "place", "told"),
    [
        (7, "filter", "Use an object"),
        ({"$not": []}, "filter.$not", "Use an object"),
        ({"$not": {}}, "filter.$not", "The condition is empty"),
        ({"$nor": []}, "filter.$nor", "is no operator here"),
        ({"$or": {}}, "filter.$or", "a list of one or more"),
        ({"$or": []}, "filter.$or", "a list of one or more"),
        ({"$and": [{"whole": 1}] * 51}, "filter.$and", "at most 50 conditions"),
        ({"$and": [{"whole": 1}, {"nope": 1}]}, "filter.$and[1].nope", "has no field 'nope'"),
        ({"whole": {}}, "filter.whole", ""),
        ({"whole": {"$like": "x"}}, "filter.whole.$like", "does not apply to 'whole'"),
        ({"whole": {"$gt": None}}, "filter.whole.$gt", ""),
        ({"text": {"$null": 1}}, "filter.text.$null", "true or false"),
        ({"whole": {"$in": 1}}, "filter.whole.$in", "a list of at most 500"),
        ({"whole": {"$in": [1] * 501}}, "filter.whole.$in", "a list of at most 500"),
        ({"whole": {"$nin": [1, "x"]}}, "filter.whole.$nin[1]", "whole number"),
        ({"text": {"$contains": "x" * 1001}}, "filter.text.$contains", "at most 1000 characters"),
        ({"text": {"$like": "x" * 251}}, "filter.text.$like", "more than 250"),
        ({"text": {"$like": "x\\"}}, "filter.text.$like", "single backslash"),
        ({"text": {"$ilike": "x\\\\\\"}}, "filter.text.$ilike", "single backslash"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place_and_the_reason(
    option: Model, raw: Any, place: str, told: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_filter(option, raw)

    assert refused.value.field == place
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (7, 'Use an object such as {"name": "Acme"} or {"name": {"$like": "Ac%"}}.'),
        ({"$not": {}}, "The condition is empty. Name a field or leave the condition out."),
        (
            {"$nor": []},
            "'$nor' is no operator here. Between conditions use one of: $and, $or, $not.",
        ),
        ({"$and": []}, "$and takes a list of one or more conditions."),
        ({"$or": {}}, "$or takes a list of one or more conditions."),
        (
            {"whole": {}},
            'The operator object is empty. Give an operator, such as {"whole": {"$null": false}}.',
        ),
        (
            {"free": {"$gt": 1}},
            "'$gt' does not apply to 'free', which holds object values. Use one of: $null.",
        ),
        (
            {"whole": {"$like": "x"}},
            "'$like' does not apply to 'whole', which holds integer values. Use one of: "
            "$eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $null.",
        ),
        (
            {"$or": [{"whole": n} for n in range(50)], "text": "a"},
            "The filter has more than 50 comparisons. Use $in for lists of values.",
        ),
        ({"text": {"$null": "no"}}, "$null takes true or false."),
        ({"whole": {"$nin": {}}}, "$nin takes a list of at most 500 values."),
        (
            {"$or": [{"whole": {"$in": [1] * 500}}] * 2, "text": {"$in": ["a"]}},
            "The lists of the filter hold more than 1000 values together. Split the call.",
        ),
        (
            {"text": {"$ilike": "x" * 251}},
            "The patterns of $like and $ilike have more than 250 characters together. "
            "Use $contains for a longer text.",
        ),
        (
            {"text": {"$like": "\\"}},
            "The pattern ends with a single backslash. Write two for a backslash itself.",
        ),
    ],
)
def test_a_refusal_tells_an_agent_what_to_do(option: Model, raw: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_filter(option, raw)

    assert refused.value.message == message


def test_all_of_some_conditions_is_not_any_of_them(option: Model) -> None:
    whole, text = option.field("whole"), option.field("text")
    assert whole is not None
    assert text is not None
    parts = (Comparison(whole, "$eq", 1), Comparison(text, "$eq", "a"))
    raw = [{"whole": 1}, {"text": "a"}]

    assert parse_filter(option, {"$and": raw}) == All(parts)
    assert parse_filter(option, {"$or": raw}) == AnyOf(parts)
    assert parse_filter(option, {"$and": raw}) != AnyOf(parts)


@pytest.mark.parametrize("combinator", ["$and", "$or"])
def test_lists_of_conditions_count_as_nesting(option: Model, combinator: str) -> None:
    raw: dict[str, Any] = {"whole": 1}
    for _ in range(4):
        raw = {combinator: [raw]}

    assert isinstance(parse_filter(option, raw), Condition)
    with pytest.raises(InvalidArgumentsError, match="nested more than 5 deep"):
        parse_filter(option, {combinator: [raw]})
    for empty in ({combinator: [{}]}, {combinator: [{"$not": {}}]}):
        with pytest.raises(InvalidArgumentsError, match="The condition is empty"):
            parse_filter(option, empty)


def nested(depth: int) -> dict[str, Any]:
    return {"whole": 1} if depth == 1 else {"$not": nested(depth - 1)}


@pytest.mark.parametrize(
    ("largest", "too_large", "place", "told"),
    [
        (nested(5), nested(6), "filter.$not.$not.$not.$not.$not", "nested more than 5 deep"),
        (
            {"$or": [{"whole": n} for n in range(50)]},
            {"$or": [{"whole": n} for n in range(50)], "text": "a"},
            "filter.text",
            "more than 50 comparisons",
        ),
        (
            {"$or": [{"whole": {"$in": [1] * 500}}] * 2},
            {"$or": [{"whole": {"$in": [1] * 500}}] * 2, "text": {"$nin": ["a"]}},
            "filter.text.$nin",
            "more than 1000 values",
        ),
        (
            {"text": {"$contains": "x" * 1000}},
            {"text": {"$contains": "x" * 1001}},
            "filter.text.$contains",
            "at most 1000",
        ),
        (
            {"text": {"$like": "x" * 150, "$ilike": "x" * 100}},
            {"text": {"$like": "x" * 150, "$ilike": "x" * 101}},
            "filter.text.$ilike",
            "250 characters together",
        ),
        ({"text": {"$like": "\\\\"}}, {"text": {"$like": "\\"}}, "filter.text.$like", "backslash"),
    ],
)
def test_a_filter_is_as_large_as_it_may_be_and_no_larger(
    option: Model, largest: Any, too_large: Any, place: str, told: str
) -> None:
    assert isinstance(parse_filter(option, largest), Condition)
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_filter(option, too_large)

    assert refused.value.field == place
    assert told in refused.value.message


def test_the_name_of_the_argument_stands_before_all_places(option: Model) -> None:
    for raw in (7, {"nope": 1}, {"$and": [{"whole": {"$in": ["x"]}}]}):
        with pytest.raises(InvalidArgumentsError) as refused:
            parse_filter(option, raw, "having")
        assert str(refused.value.field).startswith("having")
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_sort(option, ["nope"], "order")
    assert refused.value.field == "order[0]"


def test_a_sort_order_ends_with_the_key(option: Model) -> None:
    def order(sort: list[str] | None) -> list[tuple[str, bool]]:
        return [(each.field.name, each.descending) for each in parse_sort(option, sort)]

    assert order(None) == order([]) == [("id", False)]
    assert order(["-whole", "text"]) == [("whole", True), ("text", False), ("id", False)]
    assert order(["-id"]) == [("id", True)]
    assert order(["text", "id"]) == [("text", False), ("id", False)]


@pytest.mark.parametrize(
    ("sort", "place", "told"),
    [
        (["nope"], "sort[0]", "has no field 'nope'"),
        (["text", "-"], "sort[1]", "has no field ''"),
        (["text", "--whole"], "sort[1]", "has no field '-whole'"),
        (["text", "-text"], "sort[1]", "'text' is named twice"),
        (["free"], "sort[0]", "object values, which have no order. Sort by another field."),
    ],
)
def test_what_is_no_sort_order_is_refused_with_its_place_and_the_reason(
    option: Model, sort: list[str], place: str, told: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_sort(option, sort)

    assert refused.value.field == place
    assert told in refused.value.message
    assert "Sort by another field" not in told or refused.value.message.endswith(told)


def test_a_sort_order_has_five_fields_and_no_more(option: Model) -> None:
    names = [each.name for each in option.fields if each.type.kind in COMPARABLE_KINDS]
    names.remove("id")

    assert len(parse_sort(option, names[:5])) == 6
    with pytest.raises(InvalidArgumentsError, match=r"^Sort by at most 5 fields\.$") as refused:
        parse_sort(option, names[:6])
    assert refused.value.field == "sort"


def test_an_unknown_field_is_refused_with_those_there_are(option: Model) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        parse_filter(option, {"nope": 1})

    known = [each.name for each in option.fields]
    assert refused.value.details == {"known_fields": known}
    assert refused.value.message == (
        f"TrapOption has no field 'nope'. Use one of: {', '.join(known)}."
    )


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
