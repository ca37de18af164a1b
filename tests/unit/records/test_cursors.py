from __future__ import annotations

import base64
import math
import string
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.cursors import (
    MAX_CURSOR_LENGTH,
    CursorSigner,
    identity_of,
)
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.query import EVERYTHING, Comparison, Sort
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, FieldType, Kind

SIGNER = CursorSigner(b"a secret of sixteen bytes")
LISTING = bytes(32)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: TEXTS,
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.FLOAT: st.floats(allow_nan=False),
    Kind.BOOLEAN: st.booleans(),
    Kind.DATETIME: st.datetimes(timezones=st.just(UTC)).map(lambda each: each.replace(fold=0)),
    Kind.DATE: st.dates(),
    Kind.DECIMAL: st.decimals(allow_nan=False, allow_infinity=False),
    Kind.UUID: st.uuids(),
    Kind.CHOICE: st.sampled_from(["red", 1, 0, True, False, "1", "a lost member"]),
}


def field(name: str, kind: Kind) -> Field:
    return Field(name, FieldType(kind, choices=("red", 1)), name, required=False)


def model_of(*fields: Field, name: str = "Thing") -> Model:
    return Model(name, "things", "", (field("id", Kind.TEXT), *fields))


def order_of(*kinds: Kind) -> tuple[Sort, ...]:
    return tuple(Sort(field(f"f{at}", kind)) for at, kind in enumerate(kinds))


@st.composite
def orders(draw: st.DrawFn) -> tuple[tuple[Sort, ...], list[Any]]:
    """A sort order and a row's values in it, nulls too."""
    kinds = draw(st.lists(st.sampled_from(sorted(COMPARABLE_KINDS)), min_size=1, max_size=6))
    return order_of(*kinds), [draw(st.none() | VALUES[kind]) for kind in kinds]


def test_every_kind_that_has_an_order_is_tried() -> None:
    assert VALUES.keys() == COMPARABLE_KINDS


@given(orders())
@example((order_of(Kind.FLOAT, Kind.FLOAT), [math.inf, -0.0]))
@example((order_of(Kind.DECIMAL), [Decimal("1.500")]))
@example((order_of(Kind.DATETIME), [datetime(1, 1, 1, tzinfo=UTC)]))
@example((order_of(Kind.DATE), [date(9999, 12, 31)]))
def test_values_come_back_exactly_as_they_were(case: tuple[tuple[Sort, ...], list[Any]]) -> None:
    sort, values = case
    cursor = SIGNER.issue(LISTING, values)
    assert cursor is not None

    returned = SIGNER.accept(LISTING, sort, cursor)

    # By their text too: 1 == True and 1.0 == 1.00, but they are not the same.
    assert repr(returned) == repr(values)
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")


def test_a_stored_nan_comes_back() -> None:
    cursor = SIGNER.issue(LISTING, [math.nan])
    assert cursor is not None

    assert math.isnan(SIGNER.accept(LISTING, order_of(Kind.FLOAT), cursor)[0])


def refused(text: str, listing: bytes = LISTING, signer: CursorSigner = SIGNER) -> bool:
    try:
        signer.accept(listing, order_of(Kind.TEXT, Kind.TEXT), text)
    except InvalidArgumentsError:
        return True
    return False


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(InvalidArgumentsError, match="Repeat filter and sort") as caught:
        SIGNER.accept(LISTING, order_of(Kind.TEXT), "x")
    assert caught.value.field == "cursor"


@given(TEXTS, st.data())
def test_a_cursor_with_another_character_is_refused(text: str, data: st.DataObject) -> None:
    cursor = SIGNER.issue(LISTING, [text, "c1"])
    assert cursor is not None
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda each: each != cursor[at]))

    assert refused(cursor[:at] + other + cursor[at + 1 :])


def test_each_single_change_of_a_cursor_is_refused() -> None:
    cursor = SIGNER.issue(LISTING, ["Acme", "c1"])
    assert cursor is not None
    alphabet = string.ascii_letters + string.digits + "-_+/=. \n"

    assert not refused(cursor)
    for at, was in enumerate(cursor):
        for other in alphabet.replace(was, ""):
            assert refused(cursor[:at] + other + cursor[at + 1 :])
        assert refused(cursor[:at] + cursor[at + 1 :])
        assert refused(cursor[:at] + "=" + cursor[at:])


@settings(max_examples=200)
@given(
    st.text(max_size=100) | st.binary(max_size=100).map(base64.urlsafe_b64encode).map(bytes.decode)
)
@example("")
@example("AQ")
@example("é")
def test_whatever_was_not_made_here_is_refused(text: str) -> None:
    assert refused(text)


def test_a_cursor_of_another_key_is_refused() -> None:
    cursor = SIGNER.issue(LISTING, ["Acme", "c1"])
    same = CursorSigner(b"a secret of sixteen bytes")
    assert cursor is not None

    assert not refused(cursor, signer=same)
    assert refused(cursor, signer=CursorSigner(b"A secret of sixteen bytes"))
    assert refused(cursor, signer=CursorSigner())
    assert refused(CursorSigner().issue(LISTING, ["Acme", "c1"]) or "", signer=CursorSigner())


def test_a_short_secret_is_refused() -> None:
    for short in (b"", b"fifteen bytes.."):
        with pytest.raises(ValueError, match="16 bytes"):
            CursorSigner(short)


def test_a_cursor_is_bounded() -> None:
    longest = next(
        size for size in range(MAX_CURSOR_LENGTH, 0, -1) if SIGNER.issue(LISTING, ["x" * size])
    )

    assert longest > 6_000
    assert len(SIGNER.issue(LISTING, ["x" * longest]) or "") <= MAX_CURSOR_LENGTH
    assert SIGNER.issue(LISTING, ["ü" * (longest // 2 + 1)]) is None
    assert SIGNER.issue(LISTING, ["c1", "x" * 1_000_000]) is None


def test_a_cursor_is_short_for_short_values() -> None:
    values = ["Acme GmbH", datetime(2026, 3, 1, tzinfo=UTC), "0f4c1fd5a0a84a5fb8a0c9c7f2c6a5d1"]

    assert len(SIGNER.issue(LISTING, values) or "") < 100


NAME, SIZE = field("name", Kind.TEXT), field("size", Kind.INTEGER)
THING = model_of(NAME, SIZE)
ORDER = (Sort(NAME), Sort(THING.key))


def identity(filter_: dict[str, Any] | None = None, **changes: Any) -> bytes:
    parts: dict[str, Any] = {
        "model": THING,
        "condition": parse_filter(THING, filter_),
        "sort": ORDER,
        "scope": OPEN,
    }
    return identity_of(**(parts | changes))


def test_a_list_is_told_from_every_other() -> None:
    tenants = [Scope(Comparison(field("tenant_id", Kind.TEXT), "$eq", each)) for each in "ab"]
    different = [
        identity(),
        identity(model=model_of(NAME, SIZE, name="Other")),
        identity(sort=(Sort(NAME, descending=True), Sort(THING.key))),
        identity(sort=(Sort(THING.key),)),
        identity(sort=(Sort(SIZE), Sort(THING.key))),
        identity(sort=(Sort(field("name", Kind.UUID)), Sort(THING.key))),
        *(identity(scope=each) for each in tenants),
        identity({"name": "a"}),
        identity({"name": "b"}),
        identity({"name": {"$ne": "a"}}),
        identity({"$not": {"name": "a"}}),
        identity({"$or": [{"name": "a"}, {"name": "b"}]}),
        identity({"$and": [{"name": "a"}, {"name": "b"}]}),
        identity({"name": {"$in": ["a", "b"]}}),
        identity({"name": {"$in": ["a, b"]}}),
        identity({"size": 1}),
        identity({"size": {"$gt": 1, "$lt": 9}}),
        identity({"size": {"$null": True}}),
        identity({"$or": [{"name": "a", "size": 1}, {"name": "b"}]}),
        identity({"$and": [{"name": "a"}, {"$or": [{"size": 1}, {"name": "b"}]}]}),
    ]

    assert len(set(different)) == len(different)


def test_the_order_of_names_in_a_filter_is_no_matter() -> None:
    assert identity({"name": "a", "size": 1}) == identity({"size": 1, "name": "a"})
    assert identity({}) == identity(None) == identity(condition=EVERYTHING)
