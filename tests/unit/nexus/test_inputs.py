"""Inputs of workflows: schemas, and errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.nexus.inputs import Inputs, inputs_of
from kailash_mcp_prod.nexus.platform import RegisteredWorkflow


class Item(BaseModel):
    sku: str
    count: int = 1


def of_handler(handler: Callable[..., Any]) -> Inputs:
    return inputs_of(RegisteredWorkflow("w", None, "", {}, handler))


def of_metadata(metadata: Mapping[str, Any]) -> Inputs:
    return inputs_of(RegisteredWorkflow("w", None, "", metadata))


async def order(
    items: list[Item],
    price: Decimal,
    kind: Literal["new", "used"] = "new",
    note: str | None = None,
    schema: int = 3,
) -> dict[str, Any]:
    return {}


def test_a_handlers_annotations_are_its_schema() -> None:
    schema = of_handler(order).schema

    assert schema["required"] == ["items", "price"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"] == {
        "default": "new",
        "enum": ["new", "used"],
        "type": "string",
    }
    assert schema["properties"]["items"]["items"]["required"] == ["sku"]


def test_values_become_what_the_annotations_say() -> None:
    found = of_handler(order).check({"items": [{"sku": "a"}], "price": "1.10", "schema": 4})

    assert found == {"items": [Item(sku="a")], "price": Decimal("1.10"), "schema": 4}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"price": 1}, "items"),
        ({"items": [], "price": 1, "prise": 1}, "prise"),
        ({"items": [{"sku": 1}], "price": 1}, "items[0].sku"),
        ({"items": [], "price": 1, "kind": "broken"}, "kind"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentsError) as error:
        of_handler(order).check(given)

    assert error.value.field == field


def test_a_handler_with_keywords_takes_others_too() -> None:
    def anything(a: int, **others: Any) -> None: ...

    assert of_handler(anything).check({"a": 1, "b": [2]}) == {"a": 1, "b": [2]}


def test_an_annotation_that_nobody_can_resolve_is_no_reason_to_fail() -> None:
    def odd(a: Elsewhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    inputs = of_handler(odd)

    assert not inputs.known
    assert inputs.check({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("metadata", "schema"),
    [
        ({}, {"type": "object"}),
        ({"inputs": ["a"]}, {"type": "object", "properties": {"a": {}}}),
        (
            {"inputs": {"a": "int", "b": {"type": "str", "required": True}}},
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
                "required": ["b"],
            },
        ),
        (
            {"input_schema": {"properties": {"a": {}}, "required": ["a"]}},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
    ],
)
def test_metadata_may_say_what_a_workflow_takes(
    metadata: dict[str, Any], schema: dict[str, Any]
) -> None:
    assert of_metadata(metadata).schema == schema


@pytest.mark.parametrize(
    ("given", "field"), [({}, "b"), ({"b": 1}, "b"), ({"b": "x", "a": True}, "a")]
)
def test_what_metadata_say_is_checked(given: dict[str, Any], field: str) -> None:
    declared = of_metadata({"inputs": {"a": "int", "b": {"type": "str", "required": True}}})

    with pytest.raises(InvalidArgumentsError) as error:
        declared.check(given)

    assert error.value.field == field


def test_a_closed_schema_takes_nothing_else() -> None:
    declared = of_metadata({"input_schema": {"properties": {}, "additionalProperties": False}})

    with pytest.raises(InvalidArgumentsError):
        declared.check({"a": 1})
