from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.demo.samples import NoSampleError, sample, sample_record


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "maxLength": 4},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "uuid"},
        {"type": ["string", "null"]},
        {"enum": ["open", "done"]},
        {"const": 7},
        {"type": "integer", "minimum": 5},
        {"type": "number", "exclusiveMinimum": 3},
        {"type": ["string", "number"], "pattern": "^[0-9.]+$"},
        {"type": "boolean"},
        {"type": "array"},
        {"type": "object"},
        {"anyOf": [{"type": "string", "pattern": "^x$"}, {"type": "integer"}]},
    ],
)
def test_a_value_fits_its_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        sample(schema, "mark")
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "null"},
        {"anyOf": [{"type": "string", "pattern": "^x$"}]},
    ],
)
def test_what_nobody_can_guess_is_not_guessed(schema: dict[str, Any]) -> None:
    with pytest.raises(NoSampleError):
        sample(schema, "mark")


def test_a_record_has_the_required_fields_alone() -> None:
    properties = {"name": {"type": "string"}, "count": {"type": "integer"}, "note": {}}

    found = sample_record({"properties": properties, "required": ["name", "count"]}, "mark")

    assert found == {"name": "Demo mark", "count": 1}
