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
from kailash_mcp_prod.records.pacing import Steps, mapped
from kailash_mcp_prod.records.shapes import RecordShape


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
    """What a list asks for.

    `limit` and `offset` are in rows. `fields` are the names that the rows need to have, besides
    those of the sort order; `None` stands for all.
    """

    condition: Condition = EVERYTHING
    sort: tuple[Sort, ...] = ()
    limit: int = 20
    offset: int = 0
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in order, and whether more follow.

    A page ends before its limit when the rows are large.
    """

    rows: list[Row]
    more: bool

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def last(self) -> Row:
        """The last row."""
        return self.rows[-1]

    def records(self, shape: RecordShape) -> Steps[list[dict[str, Any]]]:
        """The rows as JSON objects of results."""
        return mapped(shape.record, self.rows)


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
        present.sort(key=lambda row: rank(row[name]), reverse=sort.descending)
        result = present + absent
    return result


def rank(value: Any) -> Any:
    """What a value sorts by: of the numbers and texts that a choice may mix, numbers come first."""
    return (isinstance(value, str), value)


_EQUALITY: Mapping[str, Callable[[Any, Any], bool]] = {"$eq": operator.eq, "$ne": operator.ne}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
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
    if name in _EQUALITY:
        return _EQUALITY[name](actual, value)
    return _ORDER[name](rank(actual), rank(value))


def _negate(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _conjunction(truths: Iterable[bool | None]) -> bool | None:
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown = unknown or truth is None
    return None if unknown else True


MAX_PATTERN_WORK = 100_000


class PatternTooExpensiveError(ValueError):
    """A pattern would have to be tried at too many places of a text."""


def like(text: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """SQL's LIKE: `%` any text, `_` one character, a backslash takes the next one literally.

    The pieces between two `%` are looked for from left to right, each as early as it fits, which
    is enough to find a match if there is one.

    Raises:
        PatternTooExpensiveError: A piece with `_` would take more than 100,000 comparisons.
    """
    if ignore_case:
        text, pattern = text.lower(), pattern.lower()
    first, *others = _pieces(pattern)
    if not others:
        return first.length == len(text) and first.fits(text, 0)
    last = others.pop()
    end = len(text) - last.length
    if end < first.length or not first.fits(text, 0) or not last.fits(text, end):
        return False
    position = first.length
    for piece in others:
        found = piece.find(text, position, end)
        if found is None:
            return False
        position = found + piece.length
    return True


class _Piece:
    """Part of a pattern without `%`: literal runs at fixed offsets, `_` between them."""

    def __init__(self, characters: list[str | None]) -> None:
        self.length = len(characters)
        self._runs: list[tuple[int, str]] = []
        for offset, character in enumerate(characters):
            if character is None:
                continue
            if offset and characters[offset - 1] is not None:
                start, run = self._runs.pop()
                self._runs.append((start, run + character))
            else:
                self._runs.append((offset, character))
        self._anchor = max(self._runs, key=lambda run: len(run[1]), default=(0, ""))

    def fits(self, text: str, position: int) -> bool:
        """Whether it matches the text at a position, where it has room."""
        return all(text.startswith(run, position + offset) for offset, run in self._runs)

    def find(self, text: str, start: int, end: int) -> int | None:
        """The first position from `start` at which it matches and ends before `end`."""
        offset, run = self._anchor
        position = start
        for _ in range(MAX_PATTERN_WORK // max(len(self._runs), 1)):
            if position + self.length > end:
                return None
            found = text.find(run, position + offset, end)
            if found < 0 or found - offset + self.length > end:
                return None
            position = found - offset
            if self.fits(text, position):
                return position
            position += 1
        raise PatternTooExpensiveError


def _pieces(pattern: str) -> list[_Piece]:
    """The pieces between the `%` of a pattern; `None` stands for any one character."""
    pieces: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            pieces.append([])
        elif character == "_":
            pieces[-1].append(None)
        else:
            pieces[-1].append(next(characters, "\\") if character == "\\" else character)
    return [_Piece(piece) for piece in pieces]
