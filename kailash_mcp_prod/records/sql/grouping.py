"""Groups of rows in SQL: what each field is grouped by and measured with, and how it is read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import sqlalchemy as sa

from kailash_mcp_prod.errors import InternalError
from kailash_mcp_prod.records.aggregates import (
    Aggregation,
    Function,
    Group,
    Groups,
    GroupSort,
    Measure,
)
from kailash_mcp_prod.records.decimals import EXTRA_PLACES, without_extra_zeros
from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.pacing import Steps
from kailash_mcp_prod.records.pages import cut_groups
from kailash_mcp_prod.records.sql.codecs import Codec, Conversion, Dialect
from kailash_mcp_prod.records.sql.terms import Terms
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES
from kailash_mcp_prod.records.types import Kind, shortest_float, stored_decimal

Expression = sa.ColumnElement[Any]
Unreadable = Callable[[str], InternalError]

_NUMBER_OF_ROWS: Expression = sa.func.count()
_ZERO: Expression = sa.literal_column("0")
# So many more places than are shown that a quotient is rounded once and not twice.
_GUARD_PLACES = 20
_ROWS_IN_A_STEP = 16


@dataclass(frozen=True, slots=True)
class Part:
    """A column of the groups: its value, what it sorts by, the field that it is of, its reader."""

    value: Expression
    order: Expression
    field: Field
    read: Conversion | None

    @property
    def may_be_large(self) -> bool:
        """Whether it holds texts of whatever length."""
        return self.read is None and self.field.type.kind is Kind.TEXT


class Grouping:
    """How the rows of one model are grouped.

    Args:
        terms: What each field is compared by.
        codecs: How its values are read.
        dialect: Which database it is.
    """

    def __init__(
        self, terms: Mapping[str, Terms], codecs: Mapping[str, Codec], dialect: Dialect
    ) -> None:
        self._terms = terms
        self._codecs = codecs
        self._sqlite = dialect == "sqlite"

    def statement(self, asked: Aggregation, source: Any, where: Sequence[Any], limit: Any) -> Any:
        """Selects for each group its values of `group_by`, its measures, and its count.

        Args:
            asked: What is asked for; its condition and its limit are not looked at.
            source: The table.
            where: The conditions.
            limit: How many groups to select at most.
        """
        parts = self._parts(asked)
        values = [f"v{at}" for at in range(len(parts) + 1)]
        keys = [f"k{at}" for at in range(len(asked.sort))]
        columns = [*(each.value for each in parts), _NUMBER_OF_ROWS]
        orders = [self._order(each) for each in asked.sort]
        rows: Any = (
            sa.select(
                *(column.label(name) for name, column in zip(values, columns, strict=True)),
                *(order.label(key) for key, order in zip(keys, orders, strict=True)),
            )
            .select_from(source)
            .where(*where)
            .group_by(*(self._identity(each) for each in asked.group_by))
            .order_by(*_directed(asked.sort, orders))
            .limit(limit)
            .subquery("found")
        )
        sizes: list[Expression] = [
            sa.func.coalesce(sa.func.length(rows.c[name]), _ZERO)
            for name, part in zip(values, parts, strict=False)
            if part.may_be_large
        ]
        bound: list[Any] = []
        if sizes:
            # What does not fit stays in the database, but for the first group that is too much.
            order = _directed(asked.sort, [rows.c[key] for key in keys])
            sum_of_sizes = sa.func.sum(reduce(operator.add, sizes))
            before = sum_of_sizes.over(order_by=order or None, rows=(None, -1)).label("before")
            rows = sa.select(rows, before).subquery("sized")
            room: Expression = sa.literal_column(str(MAX_PAGE_BYTES))
            bound = [sa.func.coalesce(rows.c.before, _ZERO) <= room]
        return (
            sa.select(*(rows.c[name] for name in values))
            .where(*bound)
            .order_by(*_directed(asked.sort, [rows.c[key] for key in keys]))
        )

    def read(
        self, asked: Aggregation, stored: Sequence[Sequence[Any]], unreadable: Unreadable
    ) -> Steps[Groups]:
        """The groups in Python form, as far as they fit.

        Args:
            asked: What was asked for.
            stored: What the statement gave, one group more than wanted if there is one.
            unreadable: Makes the error for a field whose column holds something else.
        """
        parts = self._parts(asked)
        groups = []
        for at, row in enumerate(stored):
            values = [
                _read(part, value, unreadable) for part, value in zip(parts, row, strict=False)
            ]
            by = tuple(values[: len(asked.group_by)])
            groups.append(Group(by, int(row[-1]), tuple(values[len(by) :])))
            if at % _ROWS_IN_A_STEP == 0:
                yield
        return cut_groups(asked, groups)

    def _parts(self, asked: Aggregation) -> list[Part]:
        return [*map(self._group, asked.group_by), *map(self._measure, asked.measures)]

    def _order(self, sort: GroupSort) -> Expression:
        match sort.by:
            case None:
                return _NUMBER_OF_ROWS
            case Measure():
                return self._measure(sort.by).order
            case Field():
                return self._group(sort.by).order

    def _identity(self, field: Field) -> Expression:
        """What is the same in records with the same value, and for nothing else."""
        terms = self._terms[field.name]
        match field.type.kind:
            case Kind.DATETIME if self._sqlite:
                # What is no instant must not be taken for a null.
                return sa.func.coalesce(terms.equality.expression, terms.column)
            case Kind.BOOLEAN if self._sqlite:
                return terms.column != _ZERO
        return terms.equality.expression

    def _group(self, field: Field) -> Part:
        identity = self._identity(field)
        if field.type.kind is Kind.DECIMAL:
            # Of several ways to write the number the one with the most places.
            return Part(self._extreme(field, "min"), identity, field, _decimal)
        mixed = field.type.kind is Kind.CHOICE
        order = self._terms[field.name].order.expression if mixed else identity
        return Part(identity, order, field, self._reader(field))

    def _measure(self, measure: Measure) -> Part:
        field, function = measure.field, measure.function
        if function is Function.COUNT_DISTINCT:
            counted = sa.func.count(sa.distinct(self._identity(field)))
            return Part(counted, counted, field, int)
        if field.type.kind is Kind.DECIMAL:
            return self._of_decimals(field, function)
        if function in {Function.MIN, Function.MAX}:
            value = self._native(function, self._identity(field))
            return Part(value, value, field, self._reader(field))
        if field.type.kind is Kind.FLOAT:
            value = self._native(function, self._float(field))
            return Part(value, value, field, _float)
        return self._of_wholes(field, function)

    def _of_decimals(self, field: Field, function: Function) -> Part:
        if function in {Function.MIN, Function.MAX}:
            value = self._extreme(field, function)
        elif self._sqlite:
            value = self._native(f"mcp_decimal_{function}", self._terms[field.name].column)
        elif function is Function.SUM:
            value = sa.func.sum(self._number(field))
        else:
            places = self._places(field)
            quotient = sa.func.round(
                sa.func.sum(self._number(field)), places + _whole(EXTRA_PLACES + _GUARD_PLACES)
            ) / sa.func.count(self._number(field))
            value = sa.func.round(quotient, places + _whole(EXTRA_PLACES))
            return Part(value, value, field, lambda stored: without_extra_zeros(_decimal(stored)))
        return Part(value, self._as_key(value), field, _decimal)

    def _of_wholes(self, field: Field, function: Function) -> Part:
        column = self._terms[field.name].column
        if self._sqlite:
            value = self._native(f"mcp_whole_{function}", column)
            if function is Function.AVG:
                return Part(value, value, field, float)
            return Part(value, self._as_key(value), field, int)
        total = sa.func.sum(column)
        if function is Function.SUM:
            return Part(total, total, field, int)
        exact = sa.func.round(sa.cast(total, sa.Numeric), _whole(_GUARD_PLACES))
        quotient = exact / sa.func.count(column)
        return Part(quotient, quotient, field, float)

    def _extreme(self, field: Field, function: str) -> Expression:
        """The least or greatest decimal, with as many places as the one with the most."""
        if self._sqlite:
            return self._native(f"mcp_decimal_{function}", self._terms[field.name].column)
        return sa.func.round(self._native(function, self._number(field)), self._places(field))

    def _places(self, field: Field) -> Expression:
        return sa.func.coalesce(sa.func.max(sa.func.scale(self._number(field))), _ZERO)

    def _number(self, field: Field) -> Expression:
        return self._terms[field.name].order.expression

    def _as_key(self, decimal: Expression) -> Expression:
        return sa.func.mcp_decimal(decimal) if self._sqlite else decimal

    def _float(self, field: Field) -> Expression:
        column = self._terms[field.name].column
        if self._codecs[field.name].decode is shortest_float:
            # By way of text, so that 0.1 is added as 0.1 and not as the nearest of four bytes.
            return sa.cast(sa.cast(column, sa.Text), sa.Double)
        return column

    def _reader(self, field: Field) -> Conversion | None:
        decode = self._codecs[field.name].decode
        if field.type.kind is not Kind.FLOAT:
            return decode
        return _float if decode is None else lambda stored: _float(decode(stored))

    @staticmethod
    def _native(function: str, value: Expression) -> Expression:
        made: Expression = getattr(sa.func, function)(value)
        return made


def _directed(sort: Sequence[GroupSort], keys: Sequence[Expression]) -> list[Any]:
    return [
        (key.desc() if each.descending else key.asc()).nulls_last()
        for each, key in zip(sort, keys, strict=True)
    ]


def _whole(number: int) -> Expression:
    return sa.literal_column(str(number), sa.Integer)


def _decimal(stored: Any) -> Decimal:
    number = stored_decimal(stored)
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number


def _float(stored: Any) -> float:
    """A float, and zero without a sign."""
    return float(stored) + 0.0


def _read(part: Part, stored: Any, unreadable: Unreadable) -> Any:
    if stored is None or part.read is None:
        return stored
    try:
        return part.read(stored)
    except (ValueError, TypeError, OverflowError) as problem:
        raise unreadable(part.field.name) from problem


def shape_of(asked: Aggregation) -> tuple[Any, ...]:
    """What makes the text of a statement besides its condition."""
    return (
        tuple(each.name for each in asked.group_by),
        tuple(map(_name, asked.measures)),
        tuple((_name(each.by), each.descending) for each in asked.sort),
    )


def _name(part: Field | Measure | None) -> tuple[str, ...]:
    match part:
        case Field(name=name):
            return (name,)
        case Measure(function=function, field=field):
            return (field.name, function)
        case None:
            return ()
