"""Functions that SQLite lacks: texts that compare as the values that they stand for.

They run on SQLite's threads, once for each row that a condition looks at.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal, InvalidOperation
from typing import Any

from kailash_mcp_prod.records.instants import instant_text
from kailash_mcp_prod.records.types import FieldType, Kind

_EXPONENT_BIAS = 10_000
_COMPLEMENT = str.maketrans("0123456789", "9876543210")
_DATETIME = FieldType(Kind.DATETIME)


def register_functions(connection: sqlite3.Connection) -> None:
    """Makes the functions known to a connection."""
    for name, function in (
        ("mcp_lower", _lower),
        ("mcp_decimal", _decimal),
        ("mcp_instant", _instant),
    ):
        connection.create_function(name, 1, function, deterministic=True)


def decimal_key(value: Decimal) -> str:
    """A text that sorts as the number does, the same for all ways to write a number.

    A sign, the position of the first digit and the digits; negative numbers have their nines'
    complement and a mark behind them, because of two the one with more digits is the smaller.

    Example:
        >>> decimal_key(Decimal("-2")) < decimal_key(Decimal("1.50")) < decimal_key(Decimal("10"))
        True
        >>> decimal_key(Decimal("1.5")) == decimal_key(Decimal("1.50"))
        True
    """
    sign, digits, _ = value.as_tuple()
    shown = "".join(map(str, digits)).lstrip("0").rstrip("0")
    if not shown:
        return "1"
    key = f"{value.adjusted() + _EXPONENT_BIAS:05d}{shown}"
    return f"0{key.translate(_COMPLEMENT)}~" if sign else f"2{key}"


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _decimal(stored: Any) -> str | None:
    if stored is None:
        return None
    try:
        number = Decimal(str(stored))
    except InvalidOperation:
        return None
    return decimal_key(number) if number.is_finite() else None


def _instant(stored: Any) -> str | None:
    if stored is None:
        return None
    try:
        return instant_text(_DATETIME.from_column(stored))
    except (ValueError, OverflowError):
        return None
