from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.content.completion import _escaped, _starts_with, similar
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.records.types import Kind
from tests.unit.content.conftest import ALL, NOBODY, Content, grants

RECORD = {"type": "ref/resource", "uri": "dataflow://models/{model}/{id}"}


async def values(content: Content, ref: dict[str, Any], name: str, principal: Any = ALL) -> Any:
    found = await content.completion.complete(principal, ref, name, "", {}, request_id="r1")
    return list(found.values)


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_the_ranges_of_digits_hold_what_begins_with_them(typed: int, number: int) -> None:
    condition = _starts_with("id", str(typed), Kind.INTEGER)
    ranges = condition["$or"] if condition else []
    inside = any(each["id"]["$gte"] <= number <= each["id"]["$lte"] for each in ranges)

    assert inside == str(number).startswith(str(typed))


@pytest.mark.parametrize("typed", ["0", "01", "-1", "1.5", "x", "9" * 11])
def test_what_begins_no_key_asks_for_nothing(typed: str) -> None:
    assert _starts_with("id", typed, Kind.INTEGER) is None


def test_signs_of_patterns_are_taken_literally() -> None:
    assert _escaped("50%_\\") == "50\\%\\_\\\\"


def test_names_that_begin_so_come_before_those_that_contain_it() -> None:
    found = similar("b", ["ab", "B1", "c", "b2", "ab"])

    assert (list(found.values), found.total) == (["B1", "b2", "ab"], 3)
    assert len(similar("", map(str, range(150))).values) == 100


async def test_only_records_that_may_be_read_are_offered_by_model(content: Content) -> None:
    assert await values(content, RECORD, "model", grants("Quote:read", "User:list")) == ["Quote"]
    assert await values(content, RECORD, "id") == []


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ({"type": "ref/prompt", "name": "explore_data"}, "other"),
        ({"type": "ref/prompt", "name": "other"}, "model"),
        ({"type": "ref/prompt", "name": "onboard_customer"}, "company"),
        (RECORD, "model"),
        ({"type": "ref/resource", "uri": "dataflow://models"}, "model"),
        ({"type": "ref/resource", "uri": "dataflow://models/{model}"}, "id"),
    ],
)
async def test_what_is_not_offered_is_not_completed(
    content: Content, ref: dict[str, str], name: str
) -> None:
    with pytest.raises(NotFoundError, match="There is not the"):
        await values(content, ref, name, NOBODY)
