"""A model without the fields that a caller can't reach."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentsError,
    ServerError,
)
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.records.refusals import taken, value_refused
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.records.views import veil, view_of

TEXT = FieldType(Kind.TEXT)
QUOTE = Model(
    "Quote",
    "quotes",
    "",
    (
        Field("id", TEXT, "", required=False),
        Field("owner", TEXT, "", required=True),
        Field("margin", TEXT, "", required=False, default="0"),
        Field("code", TEXT, "", required=False),
    ),
    unique_keys=(("id",), ("owner", "code"), ("margin",)),
    unique_indexes={"a": ("owner", "code"), "b": ("margin",)},
    indexes={"a": ("owner", "code"), "b": ("margin",), "c": ("code",)},
)
EVERY = tuple(Operation)


def test_a_hidden_field_is_in_no_part_of_the_view() -> None:
    view = view_of(QUOTE, {"margin"}, ())
    assert [each.name for each in view.fields] == ["id", "owner", "code"]
    assert view.unique_keys == (("id",), ("owner", "code"))
    assert view.unique_indexes == {"a": ("owner", "code")}
    assert view.indexes == {"a": ("owner", "code"), "c": ("code",)}
    assert view.whole is QUOTE
    assert view.whole.complete({"id": "1", "owner": "a"})["margin"] == "0"


def test_a_fixed_field_can_be_read_and_not_written() -> None:
    view = view_of(QUOTE, (), {"owner"})
    assert [each.name for each in view.writable] == ["margin", "code"]
    assert view.field("owner") is not None
    assert view.unique_keys == (("id",), ("margin",))


def test_without_a_required_field_no_record_can_be_made() -> None:
    creating = {Operation.CREATE, Operation.BULK_CREATE, Operation.UPSERT, Operation.BULK_UPSERT}
    assert set(EVERY) - set(operations_for(view_of(QUOTE, {"owner"}, ()), EVERY)) == creating
    assert operations_for(view_of(QUOTE, {"owner"}, {"owner"}), EVERY) == EVERY
    assert operations_for(view_of(QUOTE, {"margin"}, ()), EVERY) == EVERY


def test_a_view_of_a_view_is_one_of_the_whole_model() -> None:
    assert view_of(view_of(QUOTE, {"code"}, ()), {"margin"}, ()) == view_of(QUOTE, {"margin"}, ())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (taken(QUOTE, ("margin",)), ConflictError),
        (value_refused("margin"), InvalidArgumentsError),
        (InternalError("its margin is of another kind"), InternalError),
    ],
)
def test_what_a_store_says_of_a_hidden_field_is_said_without_its_name(
    error: ServerError, told: type[ServerError]
) -> None:
    veiled = veil(error, view_of(QUOTE, {"margin"}, ()))
    assert type(veiled) is told
    assert "margin" not in str(veiled.to_dict("r"))


@pytest.mark.parametrize("error", [taken(QUOTE, ("owner", "code")), InternalError("margins")])
def test_all_else_is_said_as_it_is(error: ServerError) -> None:
    assert veil(error, view_of(QUOTE, {"margin"}, ())) is error
