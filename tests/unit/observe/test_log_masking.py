from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.observe.log_masking import MASKED, masked, shape


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "passwd",
            "db_password",
            "api_key",
            "apiKey",
            "API_KEY",
            "token",
            "client_secret",
        ),
        *(
            "Authorization",
            "access_token",
            "session_id",
            "private_key",
            "pin",
            "card_cvv",
            "cookie",
        ),
    ],
)
def test_what_looks_like_a_secret_is_masked_however_deep(name: str) -> None:
    assert masked({"data": {name: "hunter2"}}) == {"data": {name: MASKED}}
    assert masked({"data": [{name: {"a": "hunter2"}}]}) == {"data": [{name: MASKED}]}


@pytest.mark.parametrize("name", ["name", "shipping", "opinion", "keys", "tool"])
def test_other_names_are_shown(name: str) -> None:
    assert masked({name: 1}) == {name: 1}


def test_fields_that_rules_hide_are_masked_in_filters_too() -> None:
    arguments = {"filter": {"$or": [{"salary": {"$gt": 9}}, {"city": "Kiel"}]}}

    assert masked(arguments, {"salary"}) == {
        "filter": {"$or": [{"salary": MASKED}, {"city": "Kiel"}]}
    }


def test_long_texts_and_lists_are_cut_and_counted() -> None:
    found: Any = masked(
        {
            "text": "x" * 5000,
            "rows": [{"a": 1}] * 500,
            "few": [1, None, True],
            "deep": {"a": {"b": {"c": {"d": 1}, "e": [1, 2]}}},
            "wide": {str(number): number for number in range(100)},
        }
    )

    assert found["text"] == f"{'x' * 100}… (5000 characters)"
    assert found["rows"] == "500 items"
    assert found["few"] == [1, None, True]
    assert found["deep"] == {"a": {"b": {"c": "1 members", "e": "2 items"}}}
    assert len(found["wide"]) == 21
    assert found["wide"]["…"] == "100 members"


def test_of_a_result_only_its_shape_is_told() -> None:
    result = {"records": [{"a": "secret"}] * 3, "count": 3, "next": None, "more": {"b": 1}}

    assert shape(result) == {
        "records": "3 items",
        "count": "int",
        "next": "NoneType",
        "more": "1 members",
    }
