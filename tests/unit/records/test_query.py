from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.query import (
    EVERYTHING,
    All,
    AnyOf,
    Comparison,
    Condition,
    Negation,
    PatternTooExpensiveError,
    Sort,
    holds,
    like,
    sort_rows,
)
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.integration.records.trap_oracle import like_regex, truth


def field(name: str, kind: Kind = Kind.INTEGER, **more: Any) -> Field:
    return Field(name, FieldType(kind, nullable=True, **more), "", required=False)


A, B, TEXT = field("a"), field("b"), field("text", Kind.TEXT)

PATTERNS = st.text(alphabet="ab%_\\.*[]\n", max_size=12)
TEXTS = st.text(alphabet="ab%_\\.*[]\n", max_size=16)


def ends_in_the_middle(pattern: str) -> bool:
    return len(pattern) - len(pattern.rstrip("\\")) & 1 == 1


@given(TEXTS, PATTERNS)
def test_like_agrees_with_regular_expressions(text: str, pattern: str) -> None:
    if not ends_in_the_middle(pattern):
        assert like(text, pattern) is bool(like_regex(pattern).fullmatch(text))


@given(st.text(max_size=20), st.text(max_size=10))
def test_like_without_wildcards_is_equality(text: str, literal: str) -> None:
    pattern = re.sub(r"([\\%_])", r"\\\1", literal)

    assert like(literal, pattern)
    assert like(text, pattern) is (text == literal)
    assert like(text, f"%{pattern}%") is (literal in text)
    assert like(text, f"{pattern}%") is text.startswith(literal)
    assert like(text, f"%{pattern}") is text.endswith(literal)


@given(st.lists(st.text(alphabet="ab", max_size=3), min_size=1, max_size=6), st.text(max_size=3))
def test_like_finds_pieces_in_order(pieces: list[str], gap: str) -> None:
    assert like(gap.join(pieces), "%".join(pieces))


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [("ÄB", "äb", True), ("ab", "A_", True), ("a_", "A\\_", True), ("ax", "A\\_", False)],
)
def test_like_can_ignore_case(text: str, pattern: str, expected: bool) -> None:
    assert like(text, pattern, ignore_case=True) is expected
    assert like(text, pattern) is False


def test_a_trailing_backslash_stands_for_itself() -> None:
    assert like("a\\", "a\\")


def test_a_pattern_never_takes_exponential_time() -> None:
    text = "a" * 100_000

    assert not like(text, "%a" * 300 + "%b")
    assert like(text + "b", "%a" * 300 + "%b")
    with pytest.raises(PatternTooExpensiveError):
        like(text, "%" + "a_" * 100 + "c%b%")


CONDITIONS: list[tuple[Condition, dict[str, Any], bool | None]] = [
    (EVERYTHING, {}, True),
    (Comparison(A, "$eq", 1), {"a": 1}, True),
    (Comparison(A, "$eq", 1), {"a": None}, None),
    (Comparison(A, "$ne", 1), {"a": None}, None),
    (Comparison(A, "$gt", 1), {}, None),
    (Comparison(A, "$in", []), {"a": None}, False),
    (Comparison(A, "$nin", []), {"a": None}, True),
    (Comparison(A, "$in", [1]), {"a": None}, None),
    (Comparison(A, "$nin", [1]), {"a": None}, None),
    (Comparison(A, "$null", True), {"a": None}, True),
    (Comparison(A, "$null", False), {"a": None}, False),
    (Negation(Comparison(A, "$eq", 1)), {"a": None}, None),
    (All((Comparison(A, "$eq", 1), Comparison(B, "$eq", 1))), {"a": None, "b": 2}, False),
    (All((Comparison(A, "$eq", 1), Comparison(B, "$eq", 1))), {"a": None, "b": 1}, None),
    (AnyOf((Comparison(A, "$eq", 1), Comparison(B, "$eq", 1))), {"a": None, "b": 1}, True),
    (AnyOf((Comparison(A, "$eq", 1), Comparison(B, "$eq", 1))), {"a": None, "b": 2}, None),
    (Comparison(TEXT, "$contains", "%"), {"text": "a%b"}, True),
    (Comparison(TEXT, "$contains", "%"), {"text": "ab"}, False),
    (Comparison(TEXT, "$ilike", "A%"), {"text": "ab"}, True),
]


@pytest.mark.parametrize(("condition", "row", "expected"), CONDITIONS)
def test_conditions_follow_three_valued_logic(
    condition: Condition, row: dict[str, Any], expected: bool | None
) -> None:
    assert holds(condition, row) is expected


NUMBERS = st.one_of(st.none(), st.integers(0, 3))
LEAVES = st.one_of(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]),
        st.integers(0, 3),
    ),
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["$in", "$nin"]),
        st.lists(st.integers(0, 3), max_size=2),
    ),
    st.tuples(st.sampled_from(["a", "b"]), st.just("$null"), st.booleans()),
).map(lambda leaf: {leaf[0]: {leaf[1]: leaf[2]}})
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=8,
)


def built(raw: dict[str, Any]) -> Condition:
    [(name, value)] = raw.items()
    match name:
        case "$and":
            return All(tuple(built(each) for each in value))
        case "$or":
            return AnyOf(tuple(built(each) for each in value))
        case "$not":
            return Negation(built(value))
    [(operator, operand)] = value.items()
    return Comparison({"a": A, "b": B}[name], operator, operand)


@given(FILTERS, NUMBERS, NUMBERS)
def test_nested_conditions_agree_with_the_oracle(
    raw: dict[str, Any], a: int | None, b: int | None
) -> None:
    row = {"a": a, "b": b}

    assert holds(built(raw), row) is truth(raw, row)


@given(st.lists(st.tuples(NUMBERS, NUMBERS)), st.booleans(), st.booleans())
def test_sorting_puts_nulls_last_in_either_direction(
    values: list[tuple[int | None, int | None]], a_down: bool, b_down: bool
) -> None:
    rows = [{"a": a, "b": b} for a, b in values]

    def position(value: int | None, down: bool) -> tuple[bool, int]:
        return (value is None, 0 if value is None else -value if down else value)

    in_order = sort_rows(rows, (Sort(A, a_down), Sort(B, b_down)))

    assert in_order == sorted(
        rows, key=lambda row: (position(row["a"], a_down), position(row["b"], b_down))
    )


def test_a_choice_of_numbers_and_texts_sorts() -> None:
    mixed = field("mixed", Kind.CHOICE, choices=(10, "b", 9, "a", True))
    rows = [{"mixed": value} for value in ("b", 10, None, True, "a", 9)]

    assert [row["mixed"] for row in sort_rows(rows, (Sort(mixed),))] == [
        True,
        9,
        10,
        "a",
        "b",
        None,
    ]
    assert [row["mixed"] for row in sort_rows(rows, (Sort(mixed, descending=True),))] == [
        *("b", "a", 10, 9, True, None),
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.BOOLEAN, [False, True]),
        (Kind.UUID, [UUID(int=1), UUID(int=255), UUID("f0000000-0000-4000-8000-000000000000")]),
        (Kind.CHOICE, [2, 10, "1", "B", "b"]),
        (Kind.DATETIME, [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]),
        (Kind.DECIMAL, [Decimal("-1"), Decimal("9"), Decimal("10")]),
        (Kind.TEXT, ["", "10", "9", "B", "a"]),
    ],
)
def test_values_of_each_kind_are_compared_in_the_order_in_which_they_are_sorted(
    kind: Kind, values: list[Any]
) -> None:
    compared = field("x", kind)
    rows = [{"x": value} for value in values]

    assert sort_rows(reversed(rows), (Sort(compared),)) == rows
    for position, value in enumerate(values):
        found = {
            operator: [r["x"] for r in rows if holds(Comparison(compared, operator, value), r)]
            for operator in ("$lt", "$lte", "$gte", "$gt")
        }
        assert found == {
            "$lt": values[:position],
            "$lte": values[: position + 1],
            "$gte": values[position:],
            "$gt": values[position + 1 :],
        }


def test_a_comparison_with_null_is_unknown_whatever_the_kind() -> None:
    for kind in (Kind.BOOLEAN, Kind.UUID, Kind.CHOICE):
        assert holds(Comparison(field("x", kind), "$gt", "a"), {"x": None}) is None
