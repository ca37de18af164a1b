from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.guard.canonical import canonical

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), VALUES, max_size=4
)


def typed(value: Any) -> Any:
    """A value that equals another only if both are the same JSON, numbers by their type."""
    match value:
        case dict():
            return "object", frozenset((name, typed(each)) for name, each in value.items())
        case list():
            return "array", tuple(map(typed, value))
        case _:
            return type(value).__name__, repr(value)


def shuffled(value: Any) -> Any:
    match value:
        case dict():
            return {name: shuffled(value[name]) for name in reversed(list(value))}
        case list():
            return [shuffled(each) for each in value]
        case _:
            return value


@given(ARGUMENTS)
def test_the_order_of_members_does_not_matter(arguments: dict[str, Any]) -> None:
    assert canonical(arguments) == canonical(shuffled(arguments)) is not None


@given(ARGUMENTS, ARGUMENTS)
def test_texts_are_the_same_exactly_for_the_same_arguments(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@pytest.mark.parametrize("values", [(1, 1.0, "1", True), (0, False, None, ""), ([], {}, "[]")])
def test_values_that_python_takes_for_equal_stay_apart(values: tuple[Any, ...]) -> None:
    assert len({canonical({"v": each}) for each in values}) == len(values)


@pytest.mark.parametrize(
    ("one", "other"), [(b"100.0", b"1e2"), (b"1.50", b"1.5"), (b"1E2", b"1e2")]
)
def test_the_form_of_a_number_does_not_matter(one: bytes, other: bytes) -> None:
    decoded = [msgspec.json.decode(b'{"v":%b}' % each) for each in (one, other)]

    assert canonical(decoded[0]) == canonical(decoded[1])


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.5"),
        float("nan"),
        float("inf"),
        pytest.param(10**5000, id="huge"),
        "\ud800",
        (1,),
        {1: 2},
        b"x",
        object(),
    ],
)
def test_what_is_no_plain_json_has_no_canonical_form(value: Any) -> None:
    assert canonical({"v": value}) is None
    assert canonical({"v": [{"w": value}]}) is None
