from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.query import EVERYTHING, All, AnyOf, Comparison, Condition, Negation
from kailash_mcp_prod.records.sql.codecs import Dialect
from tests.unit.records.sql.sample_tables import SAMPLE, connected, insert, table_for

TABLES = {"sqlite": table_for(SAMPLE, "sqlite"), "postgresql": table_for(SAMPLE, "postgresql")}
DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")


def compare(name: str, operator: str, value: Any) -> Comparison:
    field = SAMPLE.field(name)
    assert field is not None
    return Comparison(field, operator, value)


def sql_of(condition: Condition, dialect: Dialect = "sqlite") -> tuple[str, list[Any]]:
    """What follows WHERE, on one line, and its arguments."""
    text, arguments = TABLES[dialect].count(condition)
    return " ".join(text.split()).partition(" WHERE ")[2], arguments


def test_conditions_with_other_values_share_their_text() -> None:
    def nested(text: str, number: int, values: list[int]) -> Condition:
        return All(
            (
                AnyOf((compare("text", "$eq", text), compare("integer", "$gt", number))),
                Negation(compare("integer", "$in", values)),
            )
        )

    for dialect in DIALECTS:
        one, first = sql_of(nested("a", 1, [1, 2, 3]), dialect)
        other, second = sql_of(nested("' OR 1", -7, [9, 8, 7]), dialect)

        assert one == other
        assert first != second
        assert "OR 1" not in other.replace("OR samples", "")


def test_conditions_of_another_form_have_another_text() -> None:
    conditions: list[Condition] = [
        compare("integer", "$eq", 1),
        compare("integer", "$ne", 1),
        compare("integer", "$gt", 1),
        compare("integer", "$gte", 1),
        compare("integer", "$lt", 1),
        compare("integer", "$lte", 1),
        compare("float", "$eq", 1.0),
        compare("integer", "$null", True),
        compare("integer", "$null", False),
        compare("integer", "$in", []),
        compare("integer", "$in", [1]),
        compare("integer", "$nin", [1]),
        compare("text", "$like", "a"),
        compare("text", "$ilike", "a"),
        compare("text", "$contains", "a"),
        Negation(compare("integer", "$eq", 1)),
        All((compare("integer", "$eq", 1), compare("integer", "$eq", 1))),
        AnyOf((compare("integer", "$eq", 1), compare("integer", "$eq", 1))),
    ]

    for dialect in DIALECTS:
        assert len({sql_of(each, dialect)[0] for each in conditions}) == len(conditions)


@pytest.mark.parametrize(
    ("length", "parameters"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (499, 512), (500, 512)]
)
def test_lists_are_filled_up_to_a_power_of_two(length: int, parameters: int) -> None:
    values = list(range(length))

    for operator in ("$in", "$nin"):
        text, arguments = sql_of(compare("integer", operator, values))

        assert text.count("?") == len(arguments) == parameters
        assert arguments == values + [length - 1] * (parameters - length)


def test_a_list_is_one_parameter_of_postgresql() -> None:
    assert sql_of(compare("integer", "$in", [1, 2, 3]), "postgresql") == (
        '"samples"."integer" = any($1)',
        [[1, 2, 3]],
    )
    assert sql_of(compare("integer", "$nin", [7]), "postgresql") == (
        '"samples"."integer" != all($1)',
        [[7]],
    )


@given(st.lists(st.integers(-3, 12), max_size=9), st.sampled_from(["$in", "$nin"]))
def test_a_filled_list_selects_what_the_list_does(values: list[int], operator: str) -> None:
    table = TABLES["sqlite"]
    with closing(connected(SAMPLE)) as connection:
        for number in range(10):
            insert(connection, table, id=str(number), integer=number)
        insert(connection, table, id="null", integer=None)
        chosen = compare("integer", operator, values)

        found = {key for [key] in connection.execute(*table.select(("id",), chosen))}

    expected = {str(each) for each in range(10) if (each in values) is (operator == "$in")}
    assert found == expected | ({"null"} if operator == "$nin" and not values else set())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_empty_is_always_true_or_never(dialect: Dialect) -> None:
    always, never = {"1 = 1", "true"}, {"0 = 1", "false"}

    assert sql_of(EVERYTHING, dialect)[0] in always
    assert sql_of(compare("integer", "$nin", []), dialect)[0] in always
    assert sql_of(compare("integer", "$in", []), dialect)[0] in never
    assert sql_of(AnyOf(()), dialect)[0] in never
    assert sql_of(AnyOf((EVERYTHING,)), dialect)[0] in always


def test_parts_keep_their_nesting() -> None:
    a, b, c = (compare("integer", "$eq", number) for number in (1, 2, 3))
    column = '"samples"."integer"'
    one = f"{column} = ?"

    for condition, text in [
        (All((AnyOf((a, b)), c)), f"({one} OR {one}) AND {one}"),
        (AnyOf((All((a, b)), c)), f"{one} AND {one} OR {one}"),
        (Negation(All((a, b))), f"NOT ({one} AND {one})"),
        (Negation(Negation(AnyOf((a, b)))), f"({one} OR {one})"),
        (Negation(AnyOf((Negation(All((a, b))), c))), f"NOT (NOT ({one} AND {one}) OR {one})"),
        (All((a, Negation(b))), f"{one} AND NOT ({one})"),
    ]:
        assert sql_of(condition)[0] == text


def test_values_of_nested_conditions_stay_in_their_order() -> None:
    condition = All(
        (
            compare("text", "$like", "a%"),
            AnyOf((compare("integer", "$in", [1, 2]), Negation(compare("text", "$ilike", "B_")))),
            compare("text", "$contains", "c"),
        )
    )

    # The position behind which `$contains` looks is a constant of the statement.
    assert sql_of(condition)[1] == ["a*", 1, 2, "b?", "c", 0]
    assert sql_of(condition, "postgresql")[1] == ["a%", [1, 2], "B_", "c", 0]


@pytest.mark.parametrize("operator", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"])
def test_a_comparison_with_null_is_unknown_and_so_is_its_negation(operator: str) -> None:
    table = TABLES["sqlite"]
    value = [1] if operator in {"$in", "$nin"} else 1
    with closing(connected(SAMPLE)) as connection:
        insert(connection, table, id="null", integer=None)
        for condition in (
            compare("integer", operator, value),
            Negation(compare("integer", operator, value)),
        ):
            assert connection.execute(*table.count(condition)).fetchone() == (0,)
