from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_filters import native_order, split
from kailash_mcp_prod.records.query import All, Comparison, Condition


@pytest.fixture(scope="module")
def option(traps: dict[str, Model]) -> Model:
    return traps["TrapOption"]


def rest_of(parts: tuple[Condition, ...]) -> list[str]:
    return [
        part.field.name if isinstance(part, Comparison) else type(part).__name__ for part in parts
    ]


@pytest.mark.parametrize(
    ("raw", "where", "rest"),
    [
        ({}, {}, []),
        ({"whole": 5}, {"whole": {"$eq": 5}}, []),
        ({"whole": {"$gt": 1, "$lt": 5}}, {"whole": {"$gt": 1, "$lt": 5}}, []),
        (
            {"text": None, "whole": {"$null": False}},
            {"text": {"$null": True}, "whole": {"$exists": True}},
            [],
        ),
        ({"text": {"$in": ["a"]}}, {"text": {"$in": ["a"]}}, []),
        ({"text": {"$in": []}}, {}, ["text"]),
        ({"amount": "1.5"}, {}, ["amount"]),
        ({"rank": 9}, {"rank": {"$eq": "9"}}, []),
        ({"day": "2026-03-01"}, {"day": {"$eq": "2026-03-01"}}, []),
        ({"text": {"$ilike": "a"}}, {}, ["text"]),
        ({"text": {"$contains": "a"}}, {}, ["text"]),
        ({"$or": [{"whole": 1}, {"whole": 2}]}, {}, ["AnyOf"]),
        ({"$not": {"whole": 1}}, {}, ["Negation"]),
        ({"$and": [{"whole": 1}, {"$and": [{"whole": 1}]}]}, {"whole": {"$eq": 1}}, []),
        (
            {"$and": [{"whole": {"$gt": 1}}, {"whole": {"$gt": 2}}, {"text": "a"}]},
            {"whole": {"$gt": 1}, "text": {"$eq": "a"}},
            ["whole"],
        ),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_filter_is_split_into_what_the_nodes_do_right_and_the_rest(
    option: Model, raw: dict[str, Any], where: dict[str, Any], rest: list[str], dialect: str
) -> None:
    parts = split(parse_filter(option, raw), dialect)

    assert parts.where == where
    assert rest_of(parts.rest) == rest


def test_like_is_case_sensitive_on_postgresql_alone(option: Model) -> None:
    condition = parse_filter(option, {"text": {"$like": "a%"}})

    assert split(condition, "postgresql").where == {"text": {"$like": "a%"}}
    assert split(condition, "sqlite").where == {}


def test_instants_are_given_to_the_nodes_in_utc_without_offset(option: Model) -> None:
    condition = parse_filter(option, {"moment": {"$gt": "2026-03-01T11:30:00+02:00"}})

    assert str(split(condition, "postgresql").where["moment"]["$gt"]) == "2026-03-01 09:30:00"


def test_the_database_sorts_what_is_never_null_and_sorts_alike_everywhere(
    traps: dict[str, Model],
) -> None:
    sample, option = traps["TrapSample"], traps["TrapOption"]

    assert native_order(parse_sort(sample, ["-whole", "text"]), "postgresql") == [
        "-whole",
        "text",
        "id",
    ]
    assert native_order(parse_sort(sample, ["colour"]), "postgresql") == ["colour", "id"]
    assert native_order(parse_sort(option, None), "postgresql") == ["id"]
    assert native_order(parse_sort(option, ["whole"]), "postgresql") is None
    assert native_order(parse_sort(sample, ["amount"]), "postgresql") is None
    assert native_order(parse_sort(sample, ["rank"]), "postgresql") is None


def test_texts_are_compared_here_where_the_database_orders_them_otherwise(option: Model) -> None:
    condition = parse_filter(
        option, {"text": {"$gt": "a", "$ne": "b"}, "id": {"$gt": "a"}, "day": {"$lt": "2026-03-01"}}
    )

    parts = split(condition, "postgresql", orders_texts=False)

    assert parts.where == {
        "text": {"$ne": "b"},
        "id": {"$gt": "a"},
        "day": {"$lt": "2026-03-01"},
    }
    assert rest_of(parts.rest) == ["text"]


def test_only_the_key_alone_is_sorted_by_a_database_that_orders_texts_otherwise(
    traps: dict[str, Model],
) -> None:
    sample = traps["TrapSample"]

    def order(*names: str) -> list[str] | None:
        return native_order(parse_sort(sample, list(names)), "postgresql", orders_texts=False)

    assert order() == ["id"]
    assert order("-id") == ["-id"]
    assert order("whole") is None
    assert order("text") is None
    assert order("colour") is None


def test_cursors_compare_what_filters_can_not(traps: dict[str, Model]) -> None:
    sample = traps["TrapSample"]
    flag, token = sample.field("flag"), sample.field("token")
    assert flag is not None
    assert token is not None

    parts = split(
        All((Comparison(flag, "$gte", True), Comparison(token, "$gt", UUID(int=1)))), "postgresql"
    )

    assert parts.where == {
        "flag": {"$gte": True},
        "token": {"$gt": "00000000-0000-0000-0000-000000000001"},
    }


def test_an_instant_in_sqlite_is_compared_by_its_meaning_and_not_by_its_text(
    traps: dict[str, Model],
) -> None:
    sample = traps["TrapSample"]
    moment = parse_filter(sample, {"moment": {"$gt": "2026-03-01T09:30:00Z"}})
    made = parse_filter(sample, {"created_at": {"$gt": "2026-03-01T09:30:00Z"}})

    assert split(moment, "sqlite").rest == (moment,)
    assert split(moment, "postgresql").rest == ()
    assert native_order(parse_sort(sample, ["moment"]), "sqlite") is None
    assert native_order(parse_sort(sample, ["-created_at"]), "sqlite") == ["-created_at", "id"]
    # The database writes this one, always in the same form.
    assert split(made, "sqlite").rest == ()
