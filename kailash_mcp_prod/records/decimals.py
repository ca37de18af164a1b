"""Exact arithmetic of decimals: sums, averages and extremes as SQL's numeric type has them.

What comes of several numbers has as many decimal places as the one of them with the most, so that
amounts of money stay amounts of money.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow

EXTRA_PLACES = 6
"""How many more decimal places than its numbers an average has at most."""

# More digits than PostgreSQL's numeric type takes; all but exact results are errors.
_EXACT = Context(
    prec=150_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow]
)


def places_of(number: Decimal) -> int:
    """How many decimal places a finite number is written with."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101 - of a finite number
    return max(-exponent, 0)


def with_places(number: Decimal, places: int) -> Decimal:
    """The same number with at least so many decimal places, and zero without a sign."""
    return _EXACT.add(number, Decimal((0, (0,), -places)))


def average(total: Decimal, count: int) -> Decimal:
    """The quotient, rounded half away from zero to six places more than the total has.

    Example:
        >>> average(Decimal("20.00"), 3), average(Decimal("20.00"), 4)
        (Decimal('6.66666667'), Decimal('5.00'))
    """
    places = places_of(total) + EXTRA_PLACES
    shifted = abs(int(total.scaleb(places, _EXACT)))
    rounded = (2 * shifted + count) // (2 * count)
    quotient = Decimal(-rounded if total < 0 else rounded).scaleb(-places, _EXACT)
    return without_extra_zeros(quotient)


def without_extra_zeros(quotient: Decimal) -> Decimal:
    """An average without zeros at the end of the places that it has more than its numbers."""
    least = places_of(quotient) - EXTRA_PLACES
    normal = quotient.normalize(_EXACT)
    return with_places(normal, max(least, places_of(normal)))


class DecimalTally:
    """What comes of numbers that are added one by one.

    Args:
        summing: Whether `sum` and `mean` are kept.
        comparing: Whether `least` and `greatest` are kept.
    """

    __slots__ = ("_comparing", "_greatest", "_least", "_places", "_summing", "_total", "count")

    def __init__(self, *, summing: bool = True, comparing: bool = True) -> None:
        self._summing = summing
        self._comparing = comparing
        self.count = 0
        self._total = Decimal(0)
        self._places = 0
        self._least: Decimal | None = None
        self._greatest: Decimal | None = None

    def add(self, number: Decimal) -> None:
        """Adds one.

        Raises:
            ValueError: It is not finite, or too many digits would be needed.
        """
        if not number.is_finite():
            raise ValueError("not a finite number")
        self.count += 1
        if self._summing:
            try:
                self._total = _EXACT.add(self._total, number)
            except ArithmeticError:
                raise ValueError("too many digits") from None
        if self._comparing:
            self._places = max(self._places, places_of(number))
            if self._least is None or number < self._least:
                self._least = number
            if self._greatest is None or number > self._greatest:
                self._greatest = number

    @property
    def sum(self) -> Decimal | None:
        """The sum, if there is any number."""
        return self._total if self.count else None

    @property
    def least(self) -> Decimal | None:
        """The least number, if there is any."""
        return None if self._least is None else with_places(self._least, self._places)

    @property
    def greatest(self) -> Decimal | None:
        """The greatest number, if there is any."""
        return None if self._greatest is None else with_places(self._greatest, self._places)

    @property
    def mean(self) -> Decimal | None:
        """The average, if there is any number."""
        return average(self._total, self.count) if self.count else None
