from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.aggregates import parse_aggregation
from kailash_mcp_prod.records.arguments import ArgumentsModel
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.records.types import Kind
from tests.integration.records.trap_models import APPEND_ONLY_MODELS, PLAIN_MODELS
from tests.integration.records.trap_values import BAD, BASE, GOOD, good_rows
from tests.json_schema import check_schema

MODELS = [model.__name__ for model in (*PLAIN_MODELS, *APPEND_ONLY_MODELS)]
ROWS: list[dict[str, Any]] = [given for given, _ in good_rows()]


def sample(traps: dict[str, Model], operation: Operation) -> ArgumentsModel:
    return ArgumentsModel(traps["TrapSample"], operation)


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("model", MODELS)
def test_every_schema_is_a_valid_schema_of_one_flat_object(
    traps: dict[str, Model], model: str, operation: Operation
) -> None:
    described = traps[model]
    if operation not in operations_for(described, (operation,)):
        return
    schema = ArgumentsModel(described, operation).schema

    check_schema(schema)
    text = json.dumps(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert "$ref" not in text
    assert "$defs" not in text
    assert all("description" in each or "anyOf" in each for each in schema["properties"].values())


def arguments(operation: Operation, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Good arguments of an operation that hold these values."""
    conditions = {
        name: value for name, value in row.items() if not isinstance(value, dict | list)
    } | {"blob": {"$null": False}}
    match operation:
        case Operation.CREATE:
            return [{"data": row}, {"data": {"id": "x", **row}}]
        case Operation.READ:
            return [{"id": "x"}, {"id": "x", "fields": list(row)}]
        case Operation.UPDATE:
            return [{"id": "x", "data": row}, {"id": "x", "data": row, "expected": row}]
        case Operation.DELETE:
            return [{"id": "x"}]
        case Operation.LIST:
            return [
                {},
                {"filter": conditions, "sort": ["-text"], "limit": 1000, "offset": 0},
                {"fields": ["id"], "include_total": True, "filter": {"$and": [conditions]}},
                {"cursor": "x", "limit": 5},
            ]
        case Operation.COUNT:
            return [{}, {"filter": conditions}]
        case Operation.AGGREGATE:
            return [
                {},
                {"filter": conditions, "group_by": ["text", "flag"], "sort": ["-count", "text"]},
                {
                    "sum": ["whole", "amount"],
                    "avg": ["real"],
                    "min": ["moment"],
                    "max": ["text"],
                    "count_distinct": ["token"],
                    "sort": ["-sum.amount", "count_distinct.token"],
                    "limit": 1000,
                },
            ]
        case Operation.UPSERT:
            return [{"data": row}, {"data": {"id": "x", **row}, "conflict_on": ["id"]}]
        case Operation.BULK_CREATE:
            return [{"data": [row, row]}]
        case Operation.BULK_UPSERT:
            return [{"data": [row]}, {"data": [row], "conflict_on": ["id"]}]
        case Operation.BULK_UPDATE:
            return [{"data": [{"id": "x", **row}]}, {"filter": conditions, "data": row}]
        case Operation.BULK_DELETE:
            return [{"ids": ["x", "y"]}, {"filter": conditions}]


@pytest.mark.parametrize("operation", Operation)
def test_good_arguments_are_taken_and_fit_the_schema(
    traps: dict[str, Model], operation: Operation
) -> None:
    model = sample(traps, operation)
    validator = Draft202012Validator(model.schema)
    for row in ROWS:
        for good in arguments(operation, row):
            before = copy.deepcopy(good)

            assert model.validate(good).keys() == good.keys()
            assert good == before
            validator.validate(good)


JUNK = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], {}, ["x"], {"x": 1}, 10**40])


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A value with one part of it replaced, removed or added."""
    change = draw(st.sampled_from(["replace", "remove", "add", "inside", "inside", "inside"]))
    if isinstance(value, dict) and value and change in {"remove", "inside"}:
        name = draw(st.sampled_from(list(value)))
        others = {key: each for key, each in value.items() if key != name}
        return others if change == "remove" else {**others, name: draw(mutated(value[name]))}
    if isinstance(value, list) and value and change == "inside":
        return [draw(mutated(value[0])), *value[1:]]
    if isinstance(value, dict) and change == "add":
        return {**value, "nope": draw(JUNK)}
    return draw(JUNK)


@pytest.mark.parametrize("operation", Operation)
def test_whatever_is_taken_fits_the_schema(traps: dict[str, Model], operation: Operation) -> None:
    described = traps["TrapSample"]
    model = sample(traps, operation)
    validator = Draft202012Validator(model.schema)
    good = [each for row in ROWS[:8] for each in arguments(operation, row)]

    @settings(max_examples=40)
    @given(st.sampled_from(good).flatmap(mutated))
    def check(raw: Any) -> None:
        assume(isinstance(raw, dict))
        try:
            checked = model.validate(raw)
            parse_filter(described, checked.get("filter"))
            if operation is Operation.AGGREGATE:
                parse_aggregation(described, checked)
            else:
                parse_sort(described, checked.get("sort"))
        except InvalidArgumentsError:
            return
        assume(tuple(raw.get("conflict_on", ["id"])) in described.unique_keys)
        validator.validate(raw)

    check()


# What a schema can't tell: the rules of text formats, NUL, sizes and depths.
SCHEMA_TELLS = {
    name: [
        (value, below)
        for value, below in cases
        if type(value) not in {type(given) for given, _ in GOOD[name]} | {int, float}
    ]
    for name, cases in BAD.items()
}


@pytest.mark.parametrize("name", BAD)
def test_values_of_a_wrong_json_type_break_the_schema_too(
    traps: dict[str, Model], name: str
) -> None:
    model = sample(traps, Operation.CREATE)
    validator = Draft202012Validator(model.schema)
    for value, below in SCHEMA_TELLS[name]:
        bad = {"data": {**BASE, name: value}}

        with pytest.raises(InvalidArgumentsError) as caught:
            model.validate(bad)
        assert caught.value.field == f"data.{name}{below}"
        assert not validator.is_valid(bad)


@pytest.mark.parametrize(
    ("operation", "bad"),
    [
        (Operation.READ, {}),
        (Operation.READ, {"id": ""}),
        (Operation.READ, {"id": "x" * 256}),
        (Operation.READ, {"id": 5}),
        (Operation.READ, {"id": "x", "nope": 1}),
        (Operation.READ, {"id": "x", "fields": []}),
        (Operation.READ, {"id": "x", "fields": ["nope"]}),
        (Operation.UPDATE, {"id": "x", "data": {}}),
        (Operation.UPDATE, {"id": "x", "data": {"created_at": "2026-03-01T00:00:00Z"}}),
        (Operation.UPDATE, {"id": "x", "data": {"whole": 1}, "expected": {}}),
        (Operation.UPDATE, {"id": "x", "data": {"whole": 1}, "expected": {"nope": 1}}),
        (Operation.LIST, {"limit": 0}),
        (Operation.LIST, {"limit": 1001}),
        (Operation.LIST, {"limit": "5"}),
        (Operation.LIST, {"offset": -1}),
        (Operation.LIST, {"filter": []}),
        (Operation.LIST, {"cursor": 5}),
        (Operation.LIST, {"cursor": None}),
        (Operation.LIST, {"cursor": "x" * 8_193}),
        (Operation.LIST, {"cursor": "x", "offset": 0}),
        (Operation.AGGREGATE, {"group_by": ["nope"]}),
        (Operation.AGGREGATE, {"group_by": ["text", "text"]}),
        (Operation.AGGREGATE, {"group_by": ["free"]}),
        (Operation.AGGREGATE, {"group_by": ["id", "text", "whole", "real", "flag", "day"]}),
        (Operation.AGGREGATE, {"group_by": "text"}),
        (Operation.AGGREGATE, {"sum": ["text"]}),
        (Operation.AGGREGATE, {"avg": ["moment"]}),
        (Operation.AGGREGATE, {"min": ["flag"]}),
        (Operation.AGGREGATE, {"max": ["token"]}),
        (Operation.AGGREGATE, {"count_distinct": ["blob"]}),
        (Operation.AGGREGATE, {"sort": ["count"] * 6}),
        (Operation.AGGREGATE, {"limit": 1001}),
        (Operation.AGGREGATE, {"fields": ["text"]}),
        (Operation.BULK_CREATE, {"data": []}),
        (Operation.BULK_CREATE, {"data": [BASE] * 1001}),
        (Operation.BULK_CREATE, {"data": BASE}),
        (Operation.BULK_DELETE, {}),
        (Operation.BULK_DELETE, {"ids": []}),
        (Operation.BULK_DELETE, {"ids": ["x"], "filter": {"text": "x"}}),
        (Operation.BULK_UPDATE, {"data": {"whole": 1}}),
        (Operation.BULK_UPDATE, {"filter": {"text": "x"}, "data": [{"id": "x", "whole": 1}]}),
        (Operation.BULK_UPDATE, {"filter": {"text": "x"}, "data": {}}),
        (Operation.BULK_UPDATE, {"filter": {"text": "x"}}),
        (Operation.UPSERT, {"data": BASE, "conflict_on": ["text"]}),
    ],
)
def test_the_schema_refuses_what_validation_refuses(
    traps: dict[str, Model], operation: Operation, bad: dict[str, Any]
) -> None:
    model = sample(traps, operation)

    assert not Draft202012Validator(model.schema).is_valid(bad)
    if "conflict_on" not in bad:
        with pytest.raises(InvalidArgumentsError):
            model.validate(bad)


def test_names_in_filters_and_sort_orders_are_listed_in_the_schema(
    traps: dict[str, Model],
) -> None:
    validator = Draft202012Validator(sample(traps, Operation.LIST).schema)

    for good in ({"filter": {"text": "x", "$or": []}}, {"sort": ["-text", "id"]}):
        assert validator.is_valid(good)
    for bad in (
        {"filter": {"nope": 1}},
        {"filter": {'id" OR "id': 1}},
        {"sort": ["nope"]},
        {"sort": ["--text"]},
        {"sort": ["free"]},
        {"sort": ["text desc"]},
        {"sort": ["text"] * 6},
    ):
        assert not validator.is_valid(bad)


def test_defaults_are_shown_in_their_json_form(traps: dict[str, Model]) -> None:
    schema = ArgumentsModel(traps["TrapDefault"], Operation.CREATE).schema
    properties = schema["properties"]["data"]["properties"]

    assert {name: each["default"] for name, each in properties.items() if "default" in each} == {
        "text": "select from -- x",
        "whole": 7,
        "real": 0.1,
        "flag": True,
        "amount": "1.50",
        "colour": "green",
        "rank": 10,
        "mode": "off",
    }
    assert "required" not in schema["properties"]["data"]


def test_descriptions_and_rules_of_the_model_are_in_the_schema(traps: dict[str, Model]) -> None:
    described = ArgumentsModel(traps["TrapSample"], Operation.CREATE).schema
    ruled = ArgumentsModel(traps["TrapRuled"], Operation.CREATE).schema
    fields = described["properties"]["data"]["properties"]
    rules = ruled["properties"]["data"]["properties"]

    assert fields["text"] == {"type": "string", "description": "Any text."}
    assert fields["colour"]["enum"] == ["red", "green", "blue"]
    assert rules["name"]["minLength"] == 2
    assert rules["name"]["maxLength"] == 10
    assert rules["email"]["format"] == "email"
    assert rules["email"]["type"] == ["string", "null"]
    assert rules["code"]["pattern"] == "^(?:[A-Z]{2}|[0-9]{4})$"
    assert rules["size"]["enum"] == ["S", "M", "L", None]
    assert (rules["share"]["minimum"], rules["share"]["maximum"]) == (0, 1)
    assert rules["tags"]["maxItems"] == 3


@pytest.mark.parametrize("operation", [Operation.BULK_CREATE, Operation.BULK_UPDATE])
async def test_rows_are_the_same_whether_validated_in_one_go_or_in_stretches(
    traps: dict[str, Model], operation: Operation
) -> None:
    model = sample(traps, operation)
    good = [{"id": f"r{at}", **row} for at, row in enumerate(ROWS * 5)]
    bad = [*good, {"id": 5, **BASE, "whole": "x"}]

    assert await model.validate_paced({"data": good}) == model.validate({"data": good})
    with pytest.raises(InvalidArgumentsError) as paced:
        await model.validate_paced({"data": bad})
    with pytest.raises(InvalidArgumentsError) as straight:
        model.validate({"data": bad})
    assert paced.value.to_dict("r") == straight.value.to_dict("r")
    assert paced.value.field == f"data[{len(good)}].id"


def test_no_schema_has_a_choice_at_its_top(traps: dict[str, Model]) -> None:
    """Some model providers refuse tools that have one."""
    for operation in Operation:
        schema = sample(traps, operation).schema

        assert schema.keys() & {"oneOf", "anyOf", "allOf", "not", "enum"} == set()


def test_every_schema_inside_a_schema_is_an_object(traps: dict[str, Model]) -> None:
    """Some clients can't read `true` and `false` as schemas, but for `additionalProperties`."""

    def subschemas(schema: Any) -> Iterator[Any]:
        yield schema
        if isinstance(schema, dict):
            named = [schema.get(name, {}) for name in ("properties", "dependentSchemas")]
            alone = [schema[name] for name in ("items", "not") if name in schema]
            for each in (*named[0].values(), *named[1].values(), *alone, *schema.get("anyOf", ())):
                yield from subschemas(each)

    for operation in Operation:
        for schema in subschemas(sample(traps, operation).schema):
            assert isinstance(schema, dict)


def test_all_problems_are_listed_up_to_a_bound(traps: dict[str, Model]) -> None:
    with pytest.raises(InvalidArgumentsError) as few:
        sample(traps, Operation.CREATE).validate({"data": {**BASE, "whole": "x", "flag": 1}})
    with pytest.raises(InvalidArgumentsError) as many:
        sample(traps, Operation.BULK_CREATE).validate({"data": [{}] * 1000})

    assert few.value.details is not None
    assert [each["field"] for each in few.value.details["problems"]] == ["data.whole", "data.flag"]
    assert many.value.details is not None
    assert len(many.value.details["problems"]) == 20


@pytest.mark.parametrize("kind", [Kind.OBJECT, Kind.ARRAY])
def test_collections_of_any_json_say_so(traps: dict[str, Model], kind: Kind) -> None:
    properties = sample(traps, Operation.CREATE).schema["properties"]["data"]["properties"]
    names = {Kind.OBJECT: "free", Kind.ARRAY: "things"}

    assert properties[names[kind]]["type"] == str(kind)
