from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kailash_mcp_prod.manifest.entries import (
    ModelEntry,
    NotStorableError,
    entry_of,
    model_of,
)
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Constraints, Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind

KEY = Field("id", FieldType(Kind.TEXT), "Key.", required=False)


def model(*fields: Field, **options: Any) -> Model:
    return Model("Thing", "things", "A thing.", (KEY, *fields), (("id",),), **options)


def field(kind: Kind, default: Any = None, **constraints: Any) -> Field:
    return Field(
        "value",
        FieldType(kind, nullable=default is None),
        "A value.",
        required=False,
        default=default,
        constraints=Constraints(**constraints),
    )


def read_back(given: Model) -> Model:
    encoded = msgspec.json.encode(entry_of(given))
    return model_of(msgspec.json.decode(encoded, type=ModelEntry))


DEFAULTS = {
    Kind.TEXT: "text",
    Kind.INTEGER: 2**60,
    Kind.FLOAT: 0.1,
    Kind.BOOLEAN: False,
    Kind.DATETIME: datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC),
    Kind.DATE: date(2026, 3, 2),
    Kind.DECIMAL: Decimal("19.90"),
    Kind.UUID: UUID(int=7),
    Kind.OBJECT: {"a": [1, 2.5, None, {"b": "c"}]},
    Kind.ARRAY: ["a", 1],
    Kind.BYTES: b"\x00\xff",
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_default_of_each_kind_comes_back_as_it_was(kind: Kind) -> None:
    found = read_back(model(field(kind, DEFAULTS[kind]))).field("value")

    assert found is not None
    assert repr(found.default) == repr(DEFAULTS[kind])
    assert type(found.default) is type(DEFAULTS[kind])


def test_everything_else_comes_back_as_it_was() -> None:
    choice = FieldType(Kind.CHOICE, choices=("a", 1, True))
    listed = FieldType(Kind.ARRAY, item=FieldType(Kind.DECIMAL, nullable=True))
    given = model(
        Field("choice", choice, "One.", required=True),
        Field("listed", listed, "Some.", required=True, read_only=True),
        replace(field(Kind.FLOAT, 1.0, minimum=0, maximum=2.5, one_of=(1.0, 2)), name="share"),
        replace(field(Kind.TEXT, "x", min_length=1, max_length=3, pattern="^x"), name="text"),
        unique_indexes={"u": ("text",)},
        indexes={"u": ("text",), "i": ("share", "text")},
        append_only=True,
        soft_delete=True,
        tenant=Field("tenant_id", FieldType(Kind.TEXT), "Whose.", required=True, read_only=True),
    )

    assert repr(read_back(given)) == repr(given)


def test_the_models_of_the_reference_application_come_back_as_they_were() -> None:
    from models import db

    for given in describe_models(db):
        found = read_back(given)
        for one, other in zip(found.fields, given.fields, strict=True):
            assert [name for name, _ in one.constraints.checks] == [
                name for name, _ in other.constraints.checks
            ]
            bare = replace(one.constraints, checks=other.constraints.checks)
            assert repr(replace(one, constraints=bare)) == repr(other)


UNSTORABLE = {
    "the default of Thing.value is a function": field(Kind.TEXT, lambda: "x"),
    "the validator odd of Thing.value is a function": field(
        Kind.TEXT, "x", checks=(("odd", bool),)
    ),
    "the validator email of Thing.value is a function": field(
        Kind.TEXT, "x", checks=(("email", bool),)
    ),
    "the constraints of Thing.value are no JSON values": field(
        Kind.DECIMAL, Decimal(1), minimum=Decimal(0)
    ),
    "Thing would not be the same when read back": field(Kind.OBJECT, {"a": (1, 2)}),
    "Thing has values that JSON has no form for": field(Kind.OBJECT, {"a": object()}),
    "the default of Thing.value is not of its type": field(Kind.DATETIME, "yesterday"),
}


@pytest.mark.parametrize("reason", UNSTORABLE)
def test_what_would_not_come_back_the_same_is_refused(reason: str) -> None:
    with pytest.raises(NotStorableError) as refused:
        entry_of(model(UNSTORABLE[reason]))

    assert str(refused.value) == reason


def test_a_model_that_needs_the_nodes_is_refused() -> None:
    with pytest.raises(NotStorableError, match="Thing uses retention"):
        entry_of(model(other_options=("retention",)))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_bound_that_json_does_not_know_is_refused(number: float) -> None:
    with pytest.raises(NotStorableError):
        entry_of(model(field(Kind.FLOAT, 1.0, maximum=number)))
