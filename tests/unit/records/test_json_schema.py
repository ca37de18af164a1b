from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from kailash_mcp_prod.records.json_schema import compact
from tests.json_schema import check_schema


class Inner(TypedDict):
    title: str
    anyOf: NotRequired[int | None]


Outer = TypedDict(
    "Outer",
    {
        "inner": Inner,
        "more": list[Inner],
        "by_name": dict[str, Inner | None],
        "$defs": NotRequired[str],
        "choice": NotRequired[Literal["a", "b"] | None],
        "number": NotRequired[Annotated[int | None, Field(description="N.", ge=1)]],
        "either": NotRequired[int | str | None],
    },
)

DOCUMENTS: list[Any] = [
    {"inner": {"title": "x"}, "more": [], "by_name": {}},
    {"inner": {"title": "x", "anyOf": None}, "more": [{"title": "y"}], "by_name": {"a": None}},
    {"inner": {"title": 5}, "more": [], "by_name": {}},
    {"inner": {}, "more": [], "by_name": {}},
    {"inner": {"title": "x"}, "more": [{"title": "y", "anyOf": "z"}], "by_name": {}},
    {"inner": {"title": "x"}, "more": [], "by_name": {"a": {"title": 1}}},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "$defs": 5},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "choice": None},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "choice": "c"},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "number": 0},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "number": None},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "either": None},
    {"inner": {"title": "x"}, "more": [], "by_name": {}, "either": 1.5},
    {},
    [],
]


def test_the_compact_schema_takes_and_refuses_the_same_documents() -> None:
    original = TypeAdapter(Outer).json_schema()
    small = compact(original)
    check_schema(small)

    assert [Draft202012Validator(small).is_valid(each) for each in DOCUMENTS] == [
        Draft202012Validator(original).is_valid(each) for each in DOCUMENTS
    ]
    assert "$ref" not in str(small)
    assert "$defs" in small["properties"]
    assert "title" not in small
    assert "title" in small["properties"]["inner"]["properties"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["string", "null"]}),
        (
            {"anyOf": [{"type": ["string", "number"]}, {"type": "null"}], "description": "D."},
            {"type": ["string", "number", "null"], "description": "D."},
        ),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, {"enum": ["a", None]}),
        (
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"anyOf": [{}, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]}),
        ({"title": "T", "type": "object"}, {"type": "object"}),
        (
            {"type": "object", "default": {"title": "stays"}},
            {"type": "object", "default": {"title": "stays"}},
        ),
    ],
)
def test_titles_go_and_null_is_folded_into_the_type(
    schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert compact(schema) == expected
