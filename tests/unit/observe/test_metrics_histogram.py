from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.observe.metrics_histogram import (
    BOUNDS,
    EXPORTED,
    Histogram,
    milliseconds,
    ratio,
    summary,
)

durations = st.lists(st.floats(1e-5, 3600), min_size=1, max_size=60)


def of(seconds: list[float]) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.add(bisect_left(BOUNDS, each), each)
    return made


def test_the_bounds_are_a_tenth_apart_at_most() -> None:
    assert sorted(set(BOUNDS)) == BOUNDS
    assert max(b / a for a, b in pairwise(BOUNDS)) < 1.1
    assert set(EXPORTED) <= set(BOUNDS)
    assert BOUNDS[-1] > 3600


@given(durations, st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_is_off_by_less_than_five_percent(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]
    found = of(seconds).quantile(share)
    assert found is not None
    assert abs(found - exact) <= 0.05 * exact


@given(durations)
def test_what_is_exported_is_exact(seconds: list[float]) -> None:
    for bound, count in of(seconds).exported():
        assert count == sum(each <= bound for each in seconds)


@given(durations, durations)
def test_histograms_add_up_and_part_again(before: list[float], after: list[float]) -> None:
    earlier = of(before)
    both = earlier.copy().merge(of(after))
    later = both.since(earlier)
    assert (both.count, both.longest) == (len(before) + len(after), max(before + after))
    assert later.buckets == of(after).buckets
    assert later.count == len(after)
    assert math.isclose(later.total, sum(after), rel_tol=1e-6, abs_tol=1e-6)
    assert later.longest >= max(after) * 0.99
    assert Histogram.from_wire(both.to_wire()).to_wire() == both.to_wire()


def test_nothing_has_no_figures() -> None:
    empty = Histogram()
    assert empty.average is None
    assert empty.quantile(0.5) is None
    assert set(summary(empty).values()) == {None}
    assert [count for _, count in empty.exported()] == [0] * len(EXPORTED)
    assert empty.since(Histogram()).longest == 0


def test_what_is_longer_than_all_bounds_counts_as_the_longest() -> None:
    assert of([20_000.0]).quantile(0.5) == 20_000.0


def test_figures_are_rounded_for_results() -> None:
    assert milliseconds(0.0123456) == 12.346
    assert milliseconds(None) is None
    assert (ratio(1, 4), ratio(1, 0)) == (0.25, 0.0)
