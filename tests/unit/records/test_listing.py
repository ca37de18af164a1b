from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.records.arguments import ArgumentsModel
from kailash_mcp_prod.records.listing import listed_schema
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from tests.integration.records.trap_models import APPEND_ONLY_MODELS, PLAIN_MODELS
from tests.json_schema import check_schema
from tests.unit.records.test_arguments import ROWS, arguments

MODELS = [model.__name__ for model in (*PLAIN_MODELS, *APPEND_ONLY_MODELS)]


def both(model: Model, operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    full = ArgumentsModel(model, operation).schema
    return full, listed_schema(full, operation)


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("model", MODELS)
def test_a_short_schema_is_valid_and_shorter_and_names_the_same_arguments(
    traps: dict[str, Model], model: str, operation: Operation
) -> None:
    if operation not in operations_for(traps[model], (operation,)):
        return
    full, short = both(traps[model], operation)

    check_schema(short)
    assert list(short["properties"]) == list(full["properties"])
    assert short.get("required") == full.get("required")
    assert len(json.dumps(short)) < len(json.dumps(full))


@pytest.mark.parametrize("operation", Operation)
def test_a_short_schema_accepts_whatever_the_full_one_does(
    traps: dict[str, Model], operation: Operation
) -> None:
    full, short = both(traps["TrapSample"], operation)
    exact, brief = Draft202012Validator(full), Draft202012Validator(short)
    for row in ROWS:
        for good in arguments(operation, row):
            assert exact.is_valid(good)
            brief.validate(good)


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.UPDATE, Operation.BULK_CREATE])
def test_the_fields_of_a_record_have_their_types(
    traps: dict[str, Model], operation: Operation
) -> None:
    for model in MODELS:
        if operation not in operations_for(traps[model], (operation,)):
            continue
        full, short = both(traps[model], operation)
        data = [schema["properties"]["data"] for schema in (full, short)]
        exact, brief = [each.get("items", each)["properties"] for each in data]
        assert list(brief) == list(exact)
        for name, field in brief.items():
            typed = field.keys() & {"type", "enum", "const", "anyOf"}
            assert typed or exact[name].keys().isdisjoint({"type", "enum", "anyOf"}), (model, name)


def test_fields_are_described_where_records_are_created_and_only_there(
    traps: dict[str, Model],
) -> None:
    created = both(traps["TrapSample"], Operation.CREATE)[1]["properties"]["data"]["properties"]
    updated = both(traps["TrapSample"], Operation.UPDATE)[1]["properties"]["data"]["properties"]

    assert created["text"] == {"type": "string", "description": "Any text."}
    assert created["colour"]["enum"] == ["red", "green", "blue"]
    assert updated["text"] == {"type": "string"}
    assert updated["colour"] == {"type": "string"}


def test_the_list_tool_names_the_fields_and_the_operators(traps: dict[str, Model]) -> None:
    listed = both(traps["TrapSample"], Operation.LIST)[1]["properties"]

    assert listed["fields"]["items"]["enum"] == [field.name for field in traps["TrapSample"].fields]
    for operator in ("$eq", "$in", "$null", "$or"):
        assert operator in listed["filter"]["description"]
