"""Groups rows in Python as SQL would, where the database can't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kailash_mcp_prod.records.aggregates import (
    Aggregation,
    Function,
    Group,
    Groups,
    GroupSort,
    Measure,
)
from kailash_mcp_prod.records.decimals import DecimalTally
from kailash_mcp_prod.records.model import Field, Row
from kailash_mcp_prod.records.pages import cut_groups
from kailash_mcp_prod.records.query import rank
from kailash_mcp_prod.records.types import Kind


class Tally(Protocol):
    """A measure of a group in the making."""

    def add(self, value: Any) -> None:
        """Takes the value of a row, which is not null."""

    @property
    def result(self) -> Any:
        """The measure of what was added."""


class Tallies:
    """Takes rows one by one and makes groups of them.

    Args:
        asked: What is asked for; its condition is not looked at.
    """

    def __init__(self, asked: Aggregation) -> None:
        self._asked = asked
        self._groups: dict[tuple[Any, ...], _Gathered] = {}
        if not asked.group_by:
            self._groups[()] = _Gathered(asked)

    def add(self, row: Row) -> None:
        """Takes a row in Python form.

        Raises:
            ValueError: It holds a decimal that can't be added up.
        """
        key = tuple(identity(each, row[each.name]) for each in self._asked.group_by)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Gathered(self._asked)
        group.add(row)

    def groups(self) -> Groups:
        """The groups in order, as many as are asked for and fit.

        Raises:
            InvalidArgumentsError: The first group alone is too large.
        """
        groups = [each.group() for each in self._groups.values()]
        for sort in reversed(self._asked.sort):
            groups = self._sorted(groups, sort)
        return cut_groups(self._asked, groups)

    def _sorted(self, groups: list[Group], sort: GroupSort) -> list[Group]:
        """Sorted stably, nulls last."""
        value_of = self._value_of(sort)
        present = [each for each in groups if value_of(each) is not None]
        absent = [each for each in groups if value_of(each) is None]
        present.sort(key=lambda group: rank(value_of(group)), reverse=sort.descending)
        return present + absent

    def _value_of(self, sort: GroupSort) -> Callable[[Group], Any]:
        match sort.by:
            case None:
                return lambda group: group.count
            case Measure():
                at = self._asked.measures.index(sort.by)
                return lambda group: group.measured[at]
            case Field():
                at = self._asked.group_by.index(sort.by)
                return lambda group: group.by[at]


def identity(field: Field, value: Any) -> Any:
    """What two values have in common exactly when they are the same."""
    # Of the choices, True and 1 are two.
    return str(value) if field.type.kind is Kind.CHOICE and value is not None else value


class _Gathered:
    """One group in the making."""

    def __init__(self, asked: Aggregation) -> None:
        self._count = 0
        # The value of a group is an extreme of values that are all the same.
        self._by = [(each, _tally_of(Function.MIN, each)) for each in asked.group_by]
        self._measures = [
            (each.field, _tally_of(each.function, each.field)) for each in asked.measures
        ]

    def add(self, row: Row) -> None:
        self._count += 1
        for field, tally in (*self._by, *self._measures):
            value = row[field.name]
            if value is not None:
                tally.add(value)

    def group(self) -> Group:
        return Group(
            tuple(tally.result for _, tally in self._by),
            self._count,
            tuple(tally.result for _, tally in self._measures),
        )


def _tally_of(function: Function, field: Field) -> Tally:
    kind = field.type.kind
    if function is Function.COUNT_DISTINCT:
        return _Distinct(field)
    if kind is Kind.DECIMAL:
        return _OfDecimals(function)
    if function in {Function.MIN, Function.MAX}:
        return _Extreme(greatest=function is Function.MAX)
    zero = 0.0 if kind is Kind.FLOAT else 0
    return _Sum(zero, averaged=function is Function.AVG)


class _Distinct:
    def __init__(self, field: Field) -> None:
        self._field = field
        self._seen: set[Any] = set()

    def add(self, value: Any) -> None:
        self._seen.add(identity(self._field, value))

    @property
    def result(self) -> int:
        return len(self._seen)


class _OfDecimals:
    def __init__(self, function: Function) -> None:
        self._function = function
        summing = function in {Function.SUM, Function.AVG}
        self._tally = DecimalTally(summing=summing, comparing=not summing)

    def add(self, value: Any) -> None:
        self._tally.add(value)

    @property
    def result(self) -> Any:
        tally = self._tally
        match self._function:
            case Function.SUM:
                return tally.sum
            case Function.AVG:
                return tally.mean
            case Function.MIN:
                return tally.least
        return tally.greatest


class _Extreme:
    def __init__(self, *, greatest: bool) -> None:
        self._greatest = greatest
        self._result: Any = None

    def add(self, value: Any) -> None:
        if self._result is None or self._replaces(rank(value), rank(self._result)):
            self._result = value

    def _replaces(self, value: Any, held: Any) -> bool:
        larger: bool = value > held
        smaller: bool = value < held
        return larger if self._greatest else smaller

    @property
    def result(self) -> Any:
        # A zero loses its sign.
        return self._result + 0.0 if isinstance(self._result, float) else self._result


class _Sum:
    def __init__(self, zero: float, *, averaged: bool) -> None:
        self._total = zero
        self._count = 0
        self._averaged = averaged

    def add(self, value: Any) -> None:
        self._total += value
        self._count += 1

    @property
    def result(self) -> Any:
        if not self._count:
            return None
        return self._total / self._count if self._averaged else self._total
