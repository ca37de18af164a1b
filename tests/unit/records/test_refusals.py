from __future__ import annotations

from dataclasses import replace

import pytest

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.records import refusals
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind

SEAT = Model(
    name="Seat",
    table="seats",
    description="",
    fields=(
        Field("id", FieldType(Kind.TEXT), "", required=False),
        Field("row", FieldType(Kind.TEXT), "", required=True),
        Field("number", FieldType(Kind.INTEGER), "", required=True),
    ),
    tenant=Field("tenant_id", FieldType(Kind.TEXT), "", required=True, read_only=True),
)


def test_a_missing_record_is_named_by_its_id() -> None:
    error = refusals.missing(SEAT, "s1")

    assert error.details == {"id": "s1"}
    assert error.field == "id"
    assert error.message == (
        "There is no Seat with the id 's1'. Find ids with Seat_list. Nothing was changed."
    )


def test_a_taken_key_names_its_fields() -> None:
    error = refusals.taken(SEAT, ("row", "number"))

    assert "the same row and number" in error.message
    assert (error.field, error.details) == ("data.row", {"unique_key": ["row", "number"]})


def test_a_taken_key_does_not_name_hidden_fields() -> None:
    error = refusals.taken(SEAT, ("tenant_id", "row"))

    assert "tenant" not in error.message
    assert (error.field, error.details) == ("data.row", {"unique_key": ["row"]})


def test_a_taken_key_that_is_not_known_has_no_field() -> None:
    error = refusals.taken(SEAT, ())

    assert "the same value in a unique field" in error.message
    assert (error.field, error.details) == (None, None)


def test_a_record_that_holds_what_is_expected_is_not_refused() -> None:
    refusals.check_expected(SEAT, {"id": "s1", "row": "a", "number": 1}, {"row": "a", "number": 1})


def test_a_record_that_holds_something_else_is_a_conflict_that_names_the_fields() -> None:
    with pytest.raises(ConflictError) as caught:
        refusals.check_expected(SEAT, {"row": "b", "number": 2}, {"row": "a", "number": 1})

    assert caught.value.field == "expected.row"
    assert caught.value.details == {"differing_fields": ["row", "number"]}


def test_too_many_rows_ask_for_a_narrower_filter() -> None:
    error = refusals.too_many_rows(SEAT)

    assert error.field == "filter"
    assert "more than 1000 records of Seat" in error.message


def test_another_id_names_the_unique_key() -> None:
    error = refusals.other_id(SEAT, ("row", "number"))

    assert error.field == "data.id"
    assert "row and number" in error.message


def test_a_model_without_tenants_or_with_says_what_the_credential_lacks() -> None:
    error = refusals.no_tenant(replace(SEAT, name="Desk"))

    assert "Desk" in error.message
    assert "tenant" in error.message


def test_only_a_loss_during_a_commit_is_of_unknown_outcome() -> None:
    known, unknown = refusals.unavailable(), refusals.outcome_unknown()

    assert "Nothing was changed" in known.message
    assert known.details is None
    assert "Nothing was changed" not in unknown.message
    assert unknown.details == {"outcome": "unknown"}
    assert known.retryable
