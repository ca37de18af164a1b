"""Splits a condition into what DataFlow's list node evaluates right, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.query import All, Comparison, Condition, Sort
from kailash_mcp_prod.records.types import Kind

# Decimals are text in DataFlow's tables: neither equality nor order of that text is theirs.
_NATIVE_KINDS = frozenset(
    {Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DATETIME, Kind.DATE, Kind.UUID}
)
_OPERATORS = frozenset({"$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte"})


@dataclass(frozen=True, slots=True)
class Split:
    """`where` is a filter for DataFlow's list node; `rest` has to be evaluated on its rows."""

    where: dict[str, dict[str, Any]]
    rest: tuple[Condition, ...]


def split(condition: Condition, dialect: str) -> Split:
    """What the database can select by itself, and what remains.

    Args:
        condition: The condition; its parts must all hold.
        dialect: `sqlite` or `postgresql`.
    """
    where: dict[str, dict[str, Any]] = {}
    rest: list[Condition] = []
    for part in condition.parts if isinstance(condition, All) else (condition,):
        if isinstance(part, All):
            inner = split(part, dialect)
            parts = [
                (name, operator, value)
                for name, o in inner.where.items()
                for operator, value in o.items()
            ]
            rest.extend(inner.rest)
        elif isinstance(part, Comparison) and (native := _native(part, dialect)):
            parts = [native]
        else:
            rest.append(part)
            continue
        for name, operator, value in parts:
            operators = where.setdefault(name, {})
            if operator in operators:
                rest.append(part)
            else:
                operators[operator] = value
    return Split(where, tuple(rest))


def _native(part: Comparison, dialect: str) -> tuple[str, str, Any] | None:
    field_type = part.field.type
    name = part.field.name
    if part.operator == "$null":
        return (name, "$null" if part.value else "$exists", True)
    if part.operator == "$like" and dialect == "postgresql":
        return (name, "$like", part.value)
    if part.operator not in _OPERATORS:
        return None
    if field_type.kind is Kind.CHOICE and part.operator in {"$eq", "$ne", "$in", "$nin"}:
        pass
    elif field_type.kind not in _NATIVE_KINDS:
        return None
    if isinstance(part.value, list):
        values = [field_type.to_column(each) for each in part.value]
        return (name, part.operator, values) if values else None
    return (name, part.operator, field_type.to_column(part.value))


def native_order(sort: tuple[Sort, ...]) -> list[str] | None:
    """The order in DataFlow's form, if the database sorts as we promise; else `None`.

    Databases disagree on where nulls go, so only fields that hold none are left to them.
    """
    if not all(_sorts_natively(each.field) for each in sort):
        return None
    return [f"-{each.field.name}" if each.descending else each.field.name for each in sort]


def _sorts_natively(field: Field) -> bool:
    never_null = field.required or field.read_only or field.name == "id"
    texts_only = field.type.kind is not Kind.CHOICE or all(
        isinstance(each, str) for each in field.type.choices
    )
    return never_null and texts_only and field.type.kind is not Kind.DECIMAL
