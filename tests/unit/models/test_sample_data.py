from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

import pytest
from pydantic import ConfigDict, TypeAdapter

from models import db
from models.sample_data import SAMPLE_ROWS

REFERENCES = {
    "account_manager_id": "User",
    "author_id": "User",
    "changed_by_id": "User",
    "classification_id": "ProductClassification",
    "company_id": "Company",
    "customer_id": "Customer",
    "document_id": "Document",
    "owner_id": "User",
    "quote_id": "Quote",
    "resolved_by_id": "User",
    "reviewed_by_id": "User",
    "rule_id": "ClassificationRule",
    "submitted_by_id": "User",
    "uploaded_by_id": "User",
}
NAMES_OF_THINGS_OUTSIDE = {"agent_id", "tax_id", "worker_id"}

MODELS = list(SAMPLE_ROWS)


def typed(annotation: Any, value: Any) -> Any:
    """Read a JSON value as `annotation`, without lenient conversions."""
    config = None
    if annotation in (bytes, bytes | None):
        config = ConfigDict(val_json_bytes="base64")
    return TypeAdapter(annotation, config=config).validate_json(json.dumps(value), strict=True)


def rows_with_fields(model: str) -> list[tuple[dict[str, Any], str, Any, Any]]:
    fields = db.get_model_fields(model)
    return [
        (row, name, fields[name]["type"], value)
        for row in SAMPLE_ROWS[model]
        for name, value in row.items()
    ]


def test_every_model_has_three_to_six_rows_in_the_order_of_registration() -> None:
    assert db.list_models() == MODELS
    assert all(3 <= len(rows) <= 6 for rows in SAMPLE_ROWS.values())


@pytest.mark.parametrize("model", MODELS)
def test_rows_give_declared_fields_only_and_all_required_ones(model: str) -> None:
    fields = db.get_model_fields(model)
    required = {name for name, field in fields.items() if field["required"]}

    for row in SAMPLE_ROWS[model]:
        assert required <= set(row) <= set(fields)


@pytest.mark.parametrize("model", MODELS)
def test_values_are_json_of_the_declared_types(model: str) -> None:
    for row, name, annotation, value in rows_with_fields(model):
        parsed = typed(annotation, value)

        if Decimal in (annotation, *get_args(annotation)):
            assert isinstance(value, str), (row["id"], name)
        if isinstance(parsed, datetime):
            assert parsed.utcoffset() is not None, (row["id"], name)


@pytest.mark.parametrize("model", MODELS)
def test_values_keep_the_rules_of_their_model(model: str) -> None:
    checks = db.get_models()[model].__field_validators__
    for row in SAMPLE_ROWS[model]:
        for name, check, rule in checks:
            if name in row:
                annotation = db.get_model_fields(model)[name]["type"]
                parsed = typed(annotation, row[name])
                plain = float(parsed) if isinstance(parsed, Decimal) else parsed
                assert check(plain), (row["id"], name, rule)


@pytest.mark.parametrize("model", MODELS)
def test_unique_fields_are_unique(model: str) -> None:
    indexes = db.get_models()[model].__dataflow__["indexes"]
    keys = [["id"], *(index["fields"] for index in indexes if index["unique"])]
    for key in keys:
        values = [tuple(row.get(name) for name in key) for row in SAMPLE_ROWS[model]]
        given = [value for value in values if None not in value]
        assert len(given) == len(set(given)), key


@pytest.mark.parametrize("model", MODELS)
def test_every_field_named_like_a_reference_is_one(model: str) -> None:
    named = {name for name in db.get_model_fields(model) if name.endswith("_id")}

    assert named <= REFERENCES.keys() | NAMES_OF_THINGS_OUTSIDE


def test_references_point_to_rows_that_come_before() -> None:
    loaded: set[tuple[str, str]] = set()
    followed = 0
    for model, rows in SAMPLE_ROWS.items():
        for row in rows:
            for name in REFERENCES.keys() & row.keys():
                assert (REFERENCES[name], row[name]) in loaded, (row["id"], name)
                followed += 1
            loaded.add((model, row["id"]))

    assert followed > len(MODELS)


def test_amounts_of_quotes_add_up() -> None:
    detailed = [quote for quote in SAMPLE_ROWS["Quote"] if "line_items" in quote]
    assert detailed
    for quote in detailed:
        for item in quote["line_items"]:
            assert Decimal(item["total"]) == item["quantity"] * Decimal(item["unit_price"])
        subtotal = sum(Decimal(item["total"]) for item in quote["line_items"])
        discount = Decimal(quote.get("discount_amount", "0"))
        assert Decimal(quote["subtotal"]) == subtotal
        assert Decimal(quote["total_amount"]) == subtotal - discount + Decimal(quote["tax_amount"])
