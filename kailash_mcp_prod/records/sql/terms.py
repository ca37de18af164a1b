"""What a field's column is compared and sorted by in SQL, so that values keep their meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Numeric, and_, case, cast, func, literal, not_, or_

from kailash_mcp_prod.records.model import Field
from kailash_mcp_prod.records.sql.codecs import Codec, Dialect
from kailash_mcp_prod.records.sql.functions import decimal_key
from kailash_mcp_prod.records.types import FieldType, Kind

Encode = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Term:
    """An expression in SQL, and the parameter to compare it with for a value in Python form."""

    expression: ColumnElement[Any]
    encode: Encode


@dataclass(frozen=True, slots=True)
class Terms:
    """A field's terms: `equality` for `$eq` and its like, `order` for `$gt`, its like and sorts."""

    column: ColumnElement[Any]
    equality: Term
    order: Term


def terms_of(field: Field, column: ColumnElement[Any], codec: Codec, dialect: Dialect) -> Terms:
    """The terms of a field.

    Args:
        field: The field.
        column: Its column in SQLAlchemy.
        codec: How its values are written there.
        dialect: Which database it is.
    """
    plain = Term(column, codec.encode or _unchanged)
    if not codec.as_text:
        return Terms(column, plain, plain)
    kind = field.type.kind
    if kind is Kind.DECIMAL:
        number = (
            Term(func.mcp_decimal(column), decimal_key)
            if dialect == "sqlite"
            else Term(cast(column, Numeric), _unchanged)
        )
        return Terms(column, number, number)
    if kind is Kind.DATETIME:
        instant = Term(_instant(column), plain.encode)
        return Terms(column, instant, instant)
    if kind is Kind.CHOICE and not all(isinstance(each, str) for each in field.type.choices):
        return Terms(column, plain, _choice_order(field.type, column))
    return Terms(column, plain, plain)


def _unchanged(value: Any) -> Any:
    return value


def _instant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Other programs write other forms; only those take the slow way through Python."""
    glob = column.bool_op("GLOB")
    seconds = "????-??-?? ??:??:??"
    micros = "." + 6 * "[0-9]"
    with_micros = and_(glob(literal(seconds + micros)), not_(glob(literal("*.000000"))))
    canonical = or_(glob(literal(seconds)), with_micros)
    return case((canonical, column), else_=func.mcp_instant(column))


def _choice_order(field_type: FieldType, column: ColumnElement[Any]) -> Term:
    """Numbers come first, in their order; then the texts, also those that are no choice now."""
    numbers = sorted(each for each in field_type.choices if not isinstance(each, str))
    ranks = {str(number): f"0{position:05d}" for position, number in enumerate(numbers)}
    expression = case(
        *((column == literal(text), literal(rank)) for text, rank in ranks.items()),
        else_=literal("1") + column,
    )

    def encode(value: Any) -> str:
        text = str(value)
        return ranks.get(text, f"1{text}")

    return Term(expression, encode)


_LIKE_TOKEN = re.compile(r"\\(.)|(.)", re.DOTALL)
_GLOB = {"%": "*", "_": "?"}
_GLOB_LITERAL = {each: f"[{each}]" for each in "*?["}


def glob_of(pattern: str) -> str:
    r"""SQLite's GLOB for a LIKE pattern: SQLite's own LIKE takes no notice of case.

    Example:
        >>> glob_of("50\\% of [a_c]*%")
        '50% of [[]a?c][*]*'
    """
    return "".join(
        _GLOB_LITERAL.get(escaped or plain, escaped or plain)
        if escaped or plain not in _GLOB
        else _GLOB[plain]
        for escaped, plain in _LIKE_TOKEN.findall(pattern)
    )
