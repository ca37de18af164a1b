"""Aggregate functions that SQLite lacks: exact sums, and decimals by their value.

They run on SQLite's threads, once for each row that a group has. What can't be read makes the
whole result unreadable, because a sum without it would be wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Any

from kailash_mcp_prod.records.decimals import DecimalTally
from kailash_mcp_prod.records.types import MAX_JSON_INTEGER, plain_decimal

UNREADABLE = "unreadable"
"""A result that no decimal and no number can be made of."""


class _OfDecimals:
    """A function of the numbers that texts stand for; its result is a text.

    Args:
        result: Which of the tally's numbers it is.
        summing: Whether the tally has to add up.
    """

    def __init__(self, result: Callable[[DecimalTally], Decimal | None], *, summing: bool) -> None:
        self._result = result
        self._tally = DecimalTally(summing=summing, comparing=not summing)
        self._readable = True

    def step(self, stored: Any) -> None:
        """Takes the value of one row."""
        if stored is None or not self._readable:
            return
        try:
            self._tally.add(Decimal(str(stored)))
        except (ArithmeticError, ValueError):
            self._readable = False

    def finalize(self) -> str | None:
        """The result of a group."""
        if not self._readable:
            return UNREADABLE
        result = self._result(self._tally)
        return None if result is None else plain_decimal(result)


class _OfWholes:
    """Adds whole numbers up without an overflow, which SQLite's own sum has."""

    def __init__(self) -> None:
        self._total = 0
        self._count = 0
        self._readable = True

    def step(self, stored: Any) -> None:
        """Takes the value of one row."""
        if type(stored) is int:
            self._total += stored
            self._count += 1
        elif stored is not None:
            self._readable = False


class _WholeSum(_OfWholes):
    def finalize(self) -> int | str | None:
        """The sum of a group, as text where SQLite's integers end."""
        if not self._readable:
            return UNREADABLE
        if not self._count:
            return None
        return self._total if abs(self._total) <= MAX_JSON_INTEGER else str(self._total)


class _WholeAverage(_OfWholes):
    def finalize(self) -> float | str | None:
        """The average of a group, as the nearest float."""
        if not self._readable:
            return UNREADABLE
        return self._total / self._count if self._count else None


_AGGREGATES: dict[str, Callable[[], Any]] = {
    "mcp_decimal_sum": partial(_OfDecimals, attrgetter("sum"), summing=True),
    "mcp_decimal_avg": partial(_OfDecimals, attrgetter("mean"), summing=True),
    "mcp_decimal_min": partial(_OfDecimals, attrgetter("least"), summing=False),
    "mcp_decimal_max": partial(_OfDecimals, attrgetter("greatest"), summing=False),
    "mcp_whole_sum": _WholeSum,
    "mcp_whole_avg": _WholeAverage,
}


def register_aggregates(connection: sqlite3.Connection) -> None:
    """Makes the functions known to a connection."""
    for name, function in _AGGREGATES.items():
        connection.create_aggregate(name, 1, function)
