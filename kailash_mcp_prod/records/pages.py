"""Cuts a page of records, or of groups of them, where it becomes too large for one answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kailash_mcp_prod.records.aggregates import Aggregation, Group, Groups
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.query import Page, Query
from kailash_mcp_prod.records.refusals import too_large, too_large_group
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES

_PLAIN_SIZE = 8


def cut(model: Model, query: Query, rows: Sequence[Row]) -> Page:
    """The page that a query asks for, or as much of it as fits.

    Args:
        model: The model.
        query: Its `limit` ends the page, and only its `fields` count for the size.
        rows: The rows that were found, one more than the limit if there are as many. They may end
            earlier, with the first one that does not fit.

    Raises:
        InvalidArgumentsError: The first row alone is too large.
    """
    fields = shown_fields(model, query)
    total = 0
    for position, row in enumerate(rows[: query.limit]):
        total += size(row, fields)
        if total > MAX_PAGE_BYTES:
            if position == 0:
                raise too_large(model)
            return Page(list(rows[:position]), more=True)
    return Page(list(rows[: query.limit]), more=len(rows) > query.limit)


def cut_groups(asked: Aggregation, groups: Sequence[Group]) -> Groups:
    """The groups that were asked for, or as many of them as fit.

    Args:
        asked: Its `limit` ends them.
        groups: Those that were found, in order, one more than the limit if there are as many.

    Raises:
        InvalidArgumentsError: The first group alone is too large.
    """
    total = 0
    for position, group in enumerate(groups[: asked.limit]):
        total += sum(map(_size, (*group.by, *group.measured)))
        if total > MAX_PAGE_BYTES:
            if position == 0:
                raise too_large_group()
            return Groups(list(groups[:position]), more=True)
    return Groups(list(groups[: asked.limit]), more=len(groups) > asked.limit)


def shown_fields(model: Model, query: Query) -> tuple[str, ...]:
    """The names of the fields that a query asks for."""
    return tuple(model.types) if query.fields is None else query.fields


def size(row: Row, fields: Sequence[str]) -> int:
    """How much some fields of a row take: characters of text, bytes, and a little for all else.

    Example:
        >>> size({"note": "abc", "raw": b"abcd", "count": 1}, ["note", "raw", "count"])
        15
    """
    return sum(_size(row.get(name)) for name in fields)


def _size(value: Any) -> int:
    match value:
        case str() | bytes():
            return len(value)
        case dict():
            return sum(len(key) + _size(each) for key, each in value.items())
        case list():
            return sum(_size(each) for each in value)
    return _PLAIN_SIZE
