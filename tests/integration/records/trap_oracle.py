"""What filters and sort orders mean, written anew for records in their JSON form.

A condition is true, false or unknown (`None`), as in SQL; nothing here is shared with the code
under test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
Truth = bool | None

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
    "$in": lambda a, b: a in b,
    "$nin": lambda a, b: a not in b,
    "$like": lambda a, b: bool(like_regex(b).fullmatch(a)),
    "$ilike": lambda a, b: bool(like_regex(b.lower()).fullmatch(a.lower())),
    "$contains": lambda a, b: b in a,
}


def comparable(field: str, value: Any) -> Any:
    """A value that compares as the field's values do."""
    if isinstance(value, list):
        return [comparable(field, each) for each in value]
    if value is None:
        return None
    match field:
        case "moment" | "created_at":
            return datetime.fromisoformat(value)
        case "amount" | "price":
            return Decimal(str(value))
        case "token":
            return value.lower()
    return value


def like_regex(pattern: str) -> re.Pattern[str]:
    """A LIKE pattern as a regular expression."""
    parts = re.findall(r"\\.|\\$|[^\\]", pattern, re.DOTALL)
    meanings = {"%": ".*", "_": "."}
    return re.compile(
        "".join(
            re.escape(part[-1]) if len(part) == 2 else meanings.get(part, re.escape(part))
            for part in parts
        ),
        re.DOTALL,
    )


def truth(condition: Json, record: Json) -> Truth:
    """Whether a filter is true of a record."""
    return _both([_term(name, value, record) for name, value in condition.items()])


def _term(name: str, value: Any, record: Json) -> Truth:
    if name == "$and":
        return _both([truth(each, record) for each in value])
    if name == "$or":
        return _not(_both([_not(truth(each, record)) for each in value]))
    if name == "$not":
        return _not(truth(value, record))
    operators = value if isinstance(value, dict) else {"$eq": value}
    return _both([_compare(name, each, operand, record) for each, operand in operators.items()])


def _compare(field: str, operator: str, operand: Any, record: Json) -> Truth:
    actual = record[field]
    if operator == "$null":
        return (actual is None) is operand
    if operand is None:
        return (actual is None) == (operator == "$eq")
    if operand == []:
        return operator == "$nin"
    if actual is None:
        return None
    return _COMPARE[operator](comparable(field, actual), comparable(field, operand))


def _both(truths: list[Truth]) -> Truth:
    if False in truths:
        return False
    return None if None in truths else True


def _not(value: Truth) -> Truth:
    return None if value is None else not value


def ordered(records: list[Json], sort: list[str]) -> list[str]:
    """The ids of records in a sort order: nulls last in either direction, ties by id."""
    result = sorted(records, key=lambda record: record["id"])
    for item in reversed(sort):
        field = item.removeprefix("-")
        present = [record for record in result if record[field] is not None]
        absent = [record for record in result if record[field] is None]
        present.sort(key=lambda record: comparable(field, record[field]), reverse=item[0] == "-")
        result = present + absent
    return [record["id"] for record in result]
