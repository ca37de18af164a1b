"""Holds schemas and values against JSON Schema, in a twentieth of the time of `jsonschema`.

That one is written in Python, and this in Rust, which also takes what only becomes JSON on the wire
(tuples) and expressions that Python does not know; neither of them passes here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft202012Validator


def check_schema(schema: Any) -> None:
    """Assert that a schema is one of 2020-12."""
    _valid(_as_json(schema))


def check_value(schema: Any, value: Any) -> None:
    """Assert that a schema is one of 2020-12, and that a value is valid by it."""
    found = errors(_valid(_as_json(schema)), value)
    assert not found, f"{found[:3]} in {str(value)[:500]}"


def errors(validator: Draft202012Validator, value: Any) -> list[str]:
    """What is wrong with a value."""
    _as_json(value)
    return [each.message for each in validator.iter_errors(value)]


def _as_json(value: Any) -> str:
    text = json.dumps(value)
    assert json.loads(text) == value, f"this is not JSON: {value}"
    return text


@functools.lru_cache(maxsize=256)
def _valid(text: str) -> Draft202012Validator:
    schema = json.loads(text)
    for each in _patterns(schema):
        re.compile(each)
    return Draft202012Validator(schema)


def _patterns(schema: Any) -> Iterator[str]:
    """All that could be a regular expression in a schema."""
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            yield pattern
        if isinstance(properties := schema.get("patternProperties"), dict):
            yield from properties
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _patterns(each)
