"""Filters and sort orders: parsed against a model's fields, and evaluated as SQL would.

Comparisons follow SQL's three-valued logic: a comparison with a null is unknown, and only rows
for which the whole condition is true are selected. `$null` asks for nulls.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kailash_mcp_prod.records.model import Field, Row


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field compared by one operator, such as `qty $gt 5`. The value is in Python form."""

    field: Field
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class All:
    """True when each part is true; without parts it is true."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one part is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """True when the part is false; unknown stays unknown."""

    part: Condition


Condition = Comparison | All | AnyOf | Negation

EVERYTHING = All()


@dataclass(frozen=True, slots=True)
class Sort:
    """One field of a sort order. Nulls come last in either direction."""

    field: Field
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What a list asks for. `limit` and `offset` are in rows."""

    condition: Condition = EVERYTHING
    sort: tuple[Sort, ...] = ()
    limit: int = 20
    offset: int = 0


def holds(condition: Condition, row: Row) -> bool | None:
    """Whether the condition is true of a row in Python form; `None` is SQL's unknown."""
    match condition:
        case Comparison(field=field, operator=name, value=value):
            return _compare(name, row.get(field.name), value)
        case All(parts=parts):
            return _conjunction(holds(part, row) for part in parts)
        case AnyOf(parts=parts):
            negated = _conjunction(_negate(holds(part, row)) for part in parts)
            return _negate(negated)
        case Negation(part=part):
            return _negate(holds(part, row))


def sort_rows(rows: Iterable[Row], order: tuple[Sort, ...]) -> list[Row]:
    """The rows in that order, nulls last."""
    result = list(rows)
    for sort in reversed(order):
        name = sort.field.name
        present = [row for row in result if row[name] is not None]
        absent = [row for row in result if row[name] is None]
        present.sort(key=operator.itemgetter(name), reverse=sort.descending)
        result = present + absent
    return result


_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _compare(name: str, actual: Any, value: Any) -> bool | None:
    if name == "$null":
        return (actual is None) is value
    if name in {"$in", "$nin"}:
        if not value:
            return name == "$nin"
        return None if actual is None else (actual in value) is (name == "$in")
    if actual is None:
        return None
    if name == "$contains":
        return value in actual
    if name in {"$like", "$ilike"}:
        return like(actual, value, ignore_case=name == "$ilike")
    return _ORDER[name](actual, value)


def _negate(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _conjunction(truths: Iterable[bool | None]) -> bool | None:
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown = unknown or truth is None
    return None if unknown else True


def like(text: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """SQL's LIKE: `%` any text, `_` one character, a backslash takes the next one literally.

    It is greedy with one point to return to, so that no pattern takes exponential time.
    """
    if ignore_case:
        text, pattern = text.lower(), pattern.lower()
    tokens = _like_tokens(pattern)
    position = token = 0
    resume_token = resume_position = -1
    while position < len(text):
        if token < len(tokens) and tokens[token] == _ANY_TEXT:
            resume_token, resume_position = token, position
            token += 1
        elif token < len(tokens) and tokens[token] in (_ANY_CHARACTER, text[position]):
            position += 1
            token += 1
        elif resume_token >= 0:
            resume_position += 1
            position, token = resume_position, resume_token + 1
        else:
            return False
    return all(each == _ANY_TEXT for each in tokens[token:])


_ANY_TEXT = "any text"
_ANY_CHARACTER = "any character"


def _like_tokens(pattern: str) -> list[str]:
    tokens: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            tokens.append(next(characters, "\\"))
        elif character == "%":
            tokens.append(_ANY_TEXT)
        elif character == "_":
            tokens.append(_ANY_CHARACTER)
        else:
            tokens.append(character)
    return tokens
