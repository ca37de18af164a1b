from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.records.decimals import DecimalTally, average, places_of

numbers = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(digits), exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.integers(-40, 40),
)


def tally_of(values: list[Decimal]) -> DecimalTally:
    tally = DecimalTally()
    for value in values:
        tally.add(value)
    return tally


@given(st.lists(numbers, min_size=1, max_size=8))
def test_sums_are_exact_and_extremes_have_the_places_of_the_longest(values: list[Decimal]) -> None:
    tally = tally_of(values)
    places = max(map(places_of, values))

    assert tally.sum is not None
    assert tally.least is not None
    assert tally.greatest is not None
    assert Fraction(tally.sum) == sum(map(Fraction, values))
    assert (tally.least, tally.greatest) == (min(values), max(values))
    assert {places_of(each) for each in (tally.sum, tally.least, tally.greatest)} == {places}


@given(st.lists(numbers, min_size=1, max_size=8))
def test_an_average_is_the_nearest_of_its_places(values: list[Decimal]) -> None:
    exact = sum(map(Fraction, values)) / len(values)
    places = max(map(places_of, values)) + 6
    magnitude = Fraction(math.floor(abs(exact) * 10**places + Fraction(1, 2)), 10**places)

    mean = tally_of(values).mean

    assert mean is not None
    assert Fraction(mean) == (magnitude if exact >= 0 else -magnitude)
    assert places - 6 <= places_of(mean) <= places


@pytest.mark.parametrize(
    ("total", "count", "text"),
    [
        ("10", 4, "2.5"),
        ("10.00", 4, "2.50"),
        ("10", 3, "3.333333"),
        ("-2", 3, "-0.666667"),
        ("0.000001", 2, "0.0000005"),
        ("0", 7, "0"),
        ("-0.00", 7, "0.00"),
        ("1E+3", 2, "500"),
    ],
)
def test_averages(total: str, count: int, text: str) -> None:
    assert format(average(Decimal(total), count), "f") == text


def test_of_nothing_there_is_nothing() -> None:
    tally = DecimalTally()

    assert (tally.sum, tally.mean, tally.least, tally.greatest) == (None, None, None, None)


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_finite_number_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        DecimalTally().add(Decimal(bad))


def test_a_sum_of_too_many_digits_is_refused() -> None:
    tally = tally_of([Decimal("1e99999")])

    with pytest.raises(ValueError, match="digits"):
        tally.add(Decimal("1e-99999"))
