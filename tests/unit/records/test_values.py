from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.model import Constraints, Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.records.values import MAX_FLOAT, MAX_INTEGER, annotation_for, parse_value
from tests.integration.records.trap_values import BAD, GOOD


def accepts(field_type: FieldType, value: Any, constraints: Constraints | None = None) -> bool:
    annotation = annotation_for(field_type, constraints or Constraints())
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", GOOD)
def test_good_values_are_taken_and_bad_ones_refused(traps: dict[str, Model], name: str) -> None:
    field = traps["TrapSample"].field(name)
    assert isinstance(field, Field)

    assert [given for given, _ in GOOD[name] if not accepts(field.type, given)] == []
    assert [given for given, _ in BAD[name] if accepts(field.type, given)] == []
    assert not accepts(field.type, None)


@pytest.mark.parametrize("kind", Kind)
def test_null_is_taken_where_the_type_allows_it(kind: Kind) -> None:
    assert accepts(FieldType(kind, nullable=True, choices=("a",)), None)
    assert not accepts(FieldType(kind, choices=("a",)), None)


@pytest.mark.parametrize(
    ("field_type", "good", "bad"),
    [
        (FieldType(Kind.INTEGER), [MAX_INTEGER, -MAX_INTEGER - 1], [MAX_INTEGER + 1]),
        (FieldType(Kind.FLOAT), [MAX_FLOAT, -MAX_FLOAT, 1], [MAX_FLOAT * 1.01, True]),
        (FieldType(Kind.ARRAY, item=FieldType(Kind.TEXT, nullable=True)), [["a", None]], [[1]]),
        (FieldType(Kind.OBJECT, item=FieldType(Kind.FLOAT)), [{"a": 1}], [{"a": "1"}, {1: 1.0}]),
        (FieldType(Kind.OBJECT), [{"a": [None]}], [{1: "x"}, {"a": {2: 1}}]),
    ],
)
def test_bounds_and_items_are_kept(field_type: FieldType, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(field_type, value)] == []
    assert [value for value in bad if accepts(field_type, value)] == []


@pytest.mark.parametrize(
    ("kind", "constraints", "good", "bad"),
    [
        (Kind.TEXT, Constraints(min_length=2, max_length=3), ["ab", "äöü"], ["a", "abcd", ""]),
        (Kind.TEXT, Constraints(pattern="^[A-Z]{2}$"), ["DE"], ["de", "DE\n", "DEX"]),
        (Kind.TEXT, Constraints(one_of=("a", "b")), ["a"], ["c", "A"]),
        (Kind.TEXT, Constraints(checks=(("lower", str.islower),)), ["a", "a\nb\n"], ["A"]),
        (Kind.TEXT, Constraints(checks=(("phone", str.isprintable),)), ["1"], ["1\n", "\t1"]),
        (Kind.INTEGER, Constraints(checks=(("odd", lambda n: n % 2),)), [1], [2, True]),
        (Kind.INTEGER, Constraints(minimum=0, maximum=5), [0, 5], [-1, 6]),
        (Kind.INTEGER, Constraints(one_of=(1, 2)), [1], [3, True]),
        (Kind.FLOAT, Constraints(minimum=0, maximum=1), [0, 1, 0.5], [-0.1, 1.1]),
        (Kind.DECIMAL, Constraints(minimum=0, maximum=1), ["0", "1.00", 1], ["-0.01", "1.01", 2]),
        (Kind.DECIMAL, Constraints(one_of=(Decimal("0.07"),)), ["0.07", 0.07], ["0.19"]),
        (Kind.ARRAY, Constraints(min_length=1, max_length=2), [[1]], [[], [1, 2, 3]]),
        (Kind.OBJECT, Constraints(max_length=1), [{}, {"a": 1}], [{"a": 1, "b": 2}]),
    ],
)
def test_the_rules_of_a_model_are_kept(
    kind: Kind, constraints: Constraints, good: list[Any], bad: list[Any]
) -> None:
    assert [value for value in good if not accepts(FieldType(kind), value, constraints)] == []
    assert [value for value in bad if accepts(FieldType(kind), value, constraints)] == []


def test_choices_that_are_equal_but_not_the_same_are_told_apart() -> None:
    numbers = FieldType(Kind.CHOICE, choices=(0, 1))
    booleans = FieldType(Kind.CHOICE, choices=(False, True))
    for _ in range(2):
        assert parse_value(numbers, 1, "x") is not True
        assert parse_value(booleans, True, "x") is True
        for field_type, wrong in [(numbers, True), (booleans, 1), (numbers, 1.0)]:
            with pytest.raises(InvalidArgumentsError):
                parse_value(field_type, wrong, "x")


def test_a_refused_value_is_named_by_its_path() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        parse_value(FieldType(Kind.INTEGER), "5", "filter.qty.$in[3]")

    assert caught.value.field == "filter.qty.$in[3]"
    assert caught.value.message == "filter.qty.$in[3]: use a whole number."


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["2026-03-01", "2026-03-01T00:00:00Z", "1.5", "AA==", "on", "red"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON_VALUES)
def test_whatever_is_taken_survives_its_column(traps: dict[str, Model], value: Any) -> None:
    for field in traps["TrapOption"].writable:
        try:
            parsed = TypeAdapter(annotation_for(field.type)).validate_python(value)
        except ValidationError:
            continue
        column = field.type.to_column(parsed)
        as_json = field.type.to_json(parsed)

        assert field.type.from_column(column) == parsed
        assert field.type.from_json(as_json) == parsed
