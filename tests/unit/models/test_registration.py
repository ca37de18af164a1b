from __future__ import annotations

import inspect
import re

import pytest
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS as POSTGRES_WORDS
from sqlalchemy.dialects.sqlite.base import SQLiteIdentifierPreparer

import models
from models import db

MODELS = [
    "Company",
    "User",
    "Customer",
    "Quote",
    "ProductClassification",
    "ClassificationHistory",
    "ClassificationCache",
    "ClassificationRule",
    "ClassificationFeedback",
    "ETIMAttribute",
    "ClassificationMetrics",
    "Document",
    "DocumentProcessingQueue",
]
# Argument and result names of DataFlow's generated nodes.
NODE_WORDS = {
    *("database_url", "self", "found", "success", "data", "filter", "fields", "limit", "offset"),
    *("id_", "created_at", "updated_at"),
}
RULES = {"min_length", "max_length", "validators", "range", "one_of", "pattern"}


def described_fields(docstring: str) -> dict[str, str]:
    """Read the `Attributes:` section: name to description, continuation lines joined."""
    section = inspect.cleandoc(docstring).split("\nAttributes:\n", 1)[1]
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)$", section, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def test_thirteen_models_are_registered_in_the_order_of_the_tools() -> None:
    assert db.list_models() == MODELS


def test_the_package_names_the_database_and_the_models_and_nothing_else() -> None:
    assert sorted(models.__all__) == sorted([*MODELS, "db"])
    assert all(getattr(models, name) is db.get_models()[name] for name in MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_the_docstring_describes_every_field_and_no_other(model: str) -> None:
    docstring = db.get_models()[model].__doc__
    described = described_fields(docstring)

    assert list(described) == list(db.get_model_fields(model))
    assert all(text.endswith(".") for text in described.values())
    assert docstring.split("\n", 1)[0].endswith(".")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_string_key_and_eight_to_sixteen_fields(model: str) -> None:
    fields = db.get_model_fields(model)

    assert fields["id"] == {"type": str, "required": True}
    assert 8 <= len(fields) <= 16


@pytest.mark.parametrize("model", MODELS)
def test_no_field_is_a_word_that_sql_or_dataflow_claims(model: str) -> None:
    claimed = set(POSTGRES_WORDS) | SQLiteIdentifierPreparer.reserved_words | NODE_WORDS

    assert not claimed & set(db.get_model_fields(model))


@pytest.mark.parametrize("model", MODELS)
def test_validation_rules_name_fields_and_keys_that_dataflow_knows(model: str) -> None:
    rules = db.get_models()[model].__validation__

    assert set(rules) <= set(db.get_model_fields(model))
    assert {key for rule in rules.values() for key in rule} <= RULES


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
@pytest.mark.parametrize("model", MODELS)
def test_column_defaults_are_the_plain_values(model: str, dialect: str) -> None:
    booleans = {"postgresql": ("FALSE", "TRUE"), "sqlite": ("0", "1")}[dialect]
    expected = {}
    for name, field in db.get_model_fields(model).items():
        default = field.get("default")
        if isinstance(default, bool):
            expected[name] = booleans[default]
        elif isinstance(default, str):
            expected[name] = f"'{getattr(default, 'value', default)}'"
        elif default is not None:
            expected[name] = repr(default)

    sql = db._generate_create_table_sql(model, dialect)
    written = dict(re.findall(r'^ +"(\w+)" \w+(?: NOT NULL)? DEFAULT (.+?),?$', sql, re.MULTILINE))

    del written["created_at"], written["updated_at"]
    assert written == expected


@pytest.mark.parametrize("model", MODELS)
def test_defaults_are_immutable_plain_values(model: str) -> None:
    for name, field in db.get_model_fields(model).items():
        assert isinstance(field.get("default"), str | int | float | None), name


def test_indexes_cover_declared_fields_under_unique_names() -> None:
    names = []
    for model in MODELS:
        for index in db.get_models()[model].__dataflow__["indexes"]:
            names.append(index["name"])
            assert set(index["fields"]) <= set(db.get_model_fields(model))
            assert isinstance(index["unique"], bool)

    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 63
