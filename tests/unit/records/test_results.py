from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.records.results import result_schema
from tests.integration.records.trap_models import APPEND_ONLY_MODELS, PLAIN_MODELS
from tests.integration.records.trap_values import good_rows
from tests.json_schema import check_schema

MODELS = [model.__name__ for model in (*PLAIN_MODELS, *APPEND_ONLY_MODELS)]


@pytest.mark.parametrize("model", MODELS)
def test_every_result_schema_is_valid_and_takes_no_other_members(
    traps: dict[str, Model], model: str
) -> None:
    for operation in operations_for(traps[model], tuple(Operation)):
        schema = result_schema(traps[model], operation)

        check_schema(schema)
        assert schema["additionalProperties"] is False
        assert not Draft202012Validator(schema).is_valid({"rows_affected": 1})


def test_a_record_in_its_json_form_fits_the_schema(traps: dict[str, Model]) -> None:
    model = traps["TrapSample"]
    validator = Draft202012Validator(result_schema(model, Operation.CREATE))
    stamps = {"created_at": "2026-03-01T09:30:00+00:00", "updated_at": None}
    for _, returned in good_rows():
        row = {name: model.types[name].from_json(value) for name, value in returned.items()}

        record = {name: model.types[name].to_json(value) for name, value in row.items()}
        validator.validate({"id": "x", **record, **stamps})
    assert not validator.is_valid({"id": "x", **stamps})
    assert not validator.is_valid({"id": None, **returned, **stamps})


def test_a_read_or_listed_record_may_be_partial(traps: dict[str, Model]) -> None:
    read = Draft202012Validator(result_schema(traps["TrapSeat"], Operation.READ))
    listed = Draft202012Validator(result_schema(traps["TrapSeat"], Operation.LIST))

    assert read.is_valid({"row": "a"})
    assert not read.is_valid({"row": 5})
    assert listed.is_valid({"records": [{"row": "a"}], "count": 1, "limit": 20})
    assert listed.is_valid({"records": [], "count": 0, "limit": 20, "total": 0})
    assert not listed.is_valid({"records": []})


def test_a_lost_member_of_an_enumeration_still_fits(traps: dict[str, Model]) -> None:
    read = Draft202012Validator(result_schema(traps["TrapOption"], Operation.READ))

    assert read.is_valid({"rank": "77", "colour": "violet", "mode": None})
