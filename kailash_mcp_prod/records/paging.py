"""Keyset paging: the rows that come after a row in a sort order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kailash_mcp_prod.records.query import All, AnyOf, Comparison, Condition, Sort


def following(sort: Sequence[Sort], values: Sequence[Any]) -> Condition:
    """The condition that holds of exactly the rows after one in a total order, nulls last.

    Args:
        sort: The order; its last field is the key, which is unique and never null.
        values: What the row holds in the fields of the order, in Python form.
    """
    first, *others = sort
    value = values[0]
    if not others:
        return _beyond(first, value)
    equal: Condition = (
        Comparison(first.field, "$null", True)
        if value is None
        else Comparison(first.field, "$eq", value)
    )
    tied = All((equal, following(others, values[1:])))
    if value is None:
        return tied
    choices: list[Condition] = [_beyond(first, value), tied]
    if first.field.may_be_null:
        return AnyOf((*choices, Comparison(first.field, "$null", True)))
    # The first part says nothing new, but an index can begin with it.
    return All((_beyond(first, value, inclusive=True), AnyOf(tuple(choices))))


def _beyond(sort: Sort, value: Any, *, inclusive: bool = False) -> Comparison:
    operator = "$lt" if sort.descending else "$gt"
    return Comparison(sort.field, operator + "e" * inclusive, value)
