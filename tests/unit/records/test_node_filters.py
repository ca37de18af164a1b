from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_filters import native_order, split
from kailash_mcp_prod.records.query import Comparison, Condition


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

    assert str(split(condition, "sqlite").where["moment"]["$gt"]) == "2026-03-01 09:30:00"


def test_the_database_sorts_what_is_never_null_and_sorts_alike_everywhere(
    traps: dict[str, Model],
) -> None:
    sample, option = traps["TrapSample"], traps["TrapOption"]

    assert native_order(parse_sort(sample, ["-whole", "text"])) == ["-whole", "text", "id"]
    assert native_order(parse_sort(sample, ["colour"])) == ["colour", "id"]
    assert native_order(parse_sort(option, None)) == ["id"]
    assert native_order(parse_sort(option, ["whole"])) is None
    assert native_order(parse_sort(sample, ["amount"])) is None
    assert native_order(parse_sort(sample, ["rank"])) is None
