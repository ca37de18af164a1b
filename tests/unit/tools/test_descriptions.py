from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from dataflow import DataFlow
from jsonschema import Draft202012Validator

from kailash_mcp_prod.records.aggregates import parse_aggregation
from kailash_mcp_prod.records.arguments import ArgumentsModel
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.tools.descriptions import describe, example_arguments, title_of
from tests.unit.tools.conftest import Reference

ALL = tuple(Operation)


class OnlyDocument:
    """Nothing that a filter could compare."""

    id: str
    content: dict[str, Any]


class OnlyTimes:
    """A time and a number with fractions."""

    id: str
    token: UUID
    begins_at: datetime
    share: float


class Plain:
    """The database makes the key."""

    amount: Decimal | None = None


class Narrow:
    """Fields with narrow rules.

    Attributes:
        code: A code, e.g. `AB-12`.
        size: How large, such as 40.
    """

    id: str
    code: str
    size: int
    letter: str
    rate: float
    depth: int
    grade: str = "b"

    __validation__ = {  # noqa: RUF012 - DataFlow reads a plain dictionary
        "code": {"pattern": "^[A-Z]{2}-[0-9]{2}$"},
        "size": {"range": {"min": 40, "max": 50}},
        "letter": {"min_length": 1, "max_length": 1},
        "rate": {"range": {"min": 0.75, "max": 0.9}},
        "depth": {"range": {"max": -7}},
        "grade": {"one_of": ["a", "b"]},
    }


class HTTPRequestLog:
    """One request."""

    id: str
    path: str


@pytest.fixture(scope="module")
def odd_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    url = f"sqlite:///{tmp_path_factory.mktemp('odd') / 'odd.db'}"
    db = DataFlow(url, enable_caching=False, enable_model_persistence=False)
    for each in (OnlyDocument, OnlyTimes, Plain, Narrow, HTTPRequestLog):
        db.model(each)
    return {model.name: model for model in describe_models(db)}


def check_example(model: Model, operation: Operation) -> None:
    """The last line of the description holds arguments that schema and validator accept."""
    text, _, example = describe(model, operation).rpartition("\nExample: ")
    assert len(text) > 10
    arguments = json.loads(example)
    assert arguments == example_arguments(model, operation)

    form = ArgumentsModel(model, operation)
    Draft202012Validator(form.schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        arguments
    )
    form.validate(arguments)
    parse_filter(model, arguments.get("filter"))
    if operation is Operation.AGGREGATE:
        parse_aggregation(model, arguments)
    else:
        parse_sort(model, arguments.get("sort"))


@pytest.mark.parametrize("operation", ALL)
def test_the_example_of_every_tool_is_valid(reference: Reference, operation: Operation) -> None:
    for model in reference.models:
        check_example(model, operation)


@pytest.mark.parametrize("name", ["OnlyDocument", "OnlyTimes", "Plain", "Narrow", "HTTPRequestLog"])
def test_the_examples_of_odd_models_are_valid_too(odd_models: dict[str, Model], name: str) -> None:
    for operation in operations_for(odd_models[name], ALL):
        check_example(odd_models[name], operation)


def test_an_example_takes_the_value_that_the_documentation_gives(
    odd_models: dict[str, Model],
) -> None:
    data = example_arguments(odd_models["Narrow"], Operation.CREATE)["data"]

    assert data["code"] == "AB-12"


def test_examples_are_short(reference: Reference) -> None:
    for model in reference.models:
        for operation in ALL:
            assert len(json.dumps(example_arguments(model, operation))) < 600, model.name


def test_titles_and_descriptions_are_all_different(reference: Reference) -> None:
    pairs = [(model, operation) for model in reference.models for operation in ALL]

    assert len({title_of(*pair) for pair in pairs}) == len(pairs)
    assert len({describe(*pair) for pair in pairs}) == len(pairs)


def test_a_description_names_the_model_as_its_tools_do(reference: Reference) -> None:
    for model in reference.models:
        for operation in ALL:
            assert re.search(rf"\b{model.name}\b", describe(model, operation))


def test_the_first_line_is_one_line_of_whole_sentences(reference: Reference) -> None:
    for model in reference.models:
        for operation in ALL:
            first, *rest = describe(model, operation).split("\n")
            assert first.endswith(".")
            assert "  " not in first
            assert len(rest) == 1


@pytest.mark.parametrize(
    ("operation", "title"),
    [
        (Operation.CREATE, "Create HTTP request log"),
        (Operation.LIST, "List HTTP request log records"),
        (Operation.BULK_UPSERT, "Create or update many HTTP request log records"),
    ],
)
def test_a_title_spells_the_name_in_words(
    odd_models: dict[str, Model], operation: Operation, title: str
) -> None:
    assert title_of(odd_models["HTTPRequestLog"], operation) == title


def test_braces_in_a_docstring_are_only_text(odd_models: dict[str, Model]) -> None:
    from dataclasses import replace

    model = replace(odd_models["Plain"], description="Holds {name} and {0}.")

    assert "Holds {name} and {0}." in describe(model, Operation.LIST)
