"""Splits a condition into what DataFlow's list node evaluates right, and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.query import All, Comparison, Condition, Sort
from kailash_mcp_prod.records.types import Kind

# Decimals are text in DataFlow's tables: neither equality nor order of that text is theirs.
_NATIVE_KINDS = frozenset(
    {Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DATETIME, Kind.DATE, Kind.UUID}
)
_EQUALITY = frozenset({"$eq", "$ne", "$in", "$nin"})
_ORDERING = frozenset({"$gt", "$gte", "$lt", "$lte"})


@dataclass(frozen=True, slots=True)
class Split:
    """`where` is a filter for DataFlow's list node; `rest` has to be evaluated on its rows."""

    where: dict[str, dict[str, Any]]
    rest: tuple[Condition, ...]


def split(condition: Condition, dialect: str, *, orders_texts: bool = True) -> Split:
    """What the database can select by itself, and what remains.

    Args:
        condition: The condition; its parts must all hold.
        dialect: `sqlite` or `postgresql`.
        orders_texts: Whether the database orders texts by their code points, as is done here.
    """
    where: dict[str, dict[str, Any]] = {}
    rest: list[Condition] = []
    for part in _flat(condition):
        native = isinstance(part, Comparison) and _native(part, dialect, orders_texts=orders_texts)
        if not native:
            rest.append(part)
            continue
        name, operator, value = native
        operators = where.setdefault(name, {})
        if operators.setdefault(operator, value) != value:
            rest.append(part)
    return Split(where, tuple(rest))


def _flat(condition: Condition) -> Iterator[Condition]:
    if not isinstance(condition, All):
        yield condition
        return
    for part in condition.parts:
        yield from _flat(part)


def _native(part: Comparison, dialect: str, *, orders_texts: bool) -> tuple[str, str, Any] | None:
    field_type = part.field.type
    name = part.field.name
    if part.operator == "$null":
        return (name, "$null" if part.value else "$exists", True)
    if part.operator == "$like" and dialect == "postgresql":
        return (name, "$like", part.value)
    if part.operator in _ORDERING:
        # The key is the exception: pages are continued behind one, in the database's own order.
        if field_type.kind is Kind.TEXT and not orders_texts and name != "id":
            return None
    elif part.operator not in _EQUALITY:
        return None
    elif field_type.kind is Kind.CHOICE:
        return (name, part.operator, _column_values(part)) if part.value != [] else None
    if field_type.kind not in _NATIVE_KINDS or part.value == []:
        return None
    if _is_free_text(part.field, dialect):
        return None
    return (name, part.operator, _column_values(part))


def _is_free_text(field: Field, dialect: str) -> bool:
    """Whether the field is an instant that SQLite keeps as whatever text its writer chose.

    What the database writes by itself always has the same form.
    """
    return dialect == "sqlite" and field.type.kind is Kind.DATETIME and not field.read_only


def _column_values(part: Comparison) -> Any:
    to_column = part.field.type.to_column
    if isinstance(part.value, list):
        return [to_column(each) for each in part.value]
    return to_column(part.value)


def native_order(
    sort: tuple[Sort, ...], dialect: str, *, orders_texts: bool = True
) -> list[str] | None:
    """The order in DataFlow's form, if the database sorts as we promise; else `None`.

    Databases disagree on where nulls go, so only fields that hold none are left to them.

    Args:
        sort: The order.
        dialect: `sqlite` or `postgresql`.
        orders_texts: Whether the database orders texts by their code points, as is done here.
    """
    alone = len(sort) == 1
    for each in sort:
        by_database = orders_texts or (alone and each.field.name == "id")
        natively = _sorts_natively(each.field, orders_texts=by_database)
        if not natively or _is_free_text(each.field, dialect):
            return None
    return [f"-{each.field.name}" if each.descending else each.field.name for each in sort]


def _sorts_natively(field: Field, *, orders_texts: bool) -> bool:
    never_null = field.required or field.read_only or field.name == "id"
    kind = field.type.kind
    if kind is Kind.TEXT:
        return never_null and orders_texts
    if kind is Kind.CHOICE:
        texts_only = all(isinstance(each, str) for each in field.type.choices)
        return never_null and orders_texts and texts_only
    return never_null and kind is not Kind.DECIMAL
