from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.arguments import (
    Arguments,
    Kind,
    array,
    choice,
    flag,
    handle,
    json_object,
    json_value,
    nested,
    one_or_more,
    or_text,
    record_key,
    text,
    whole,
)
from tests.json_schema import check_schema

NESTED: list[Any] = []
for _ in range(5_000):
    NESTED = [NESTED]

KINDS: dict[str, Kind] = {
    "text": text(5),
    "whole": whole(1, 9),
    "flag": flag(),
    "choice": choice("a", "b"),
    "record": record_key(),
    "handle": handle(),
    "array": array(text(3), 2, least=1),
    "object": json_object(50, 2),
    "any": json_value(50),
    "nested": nested({"name": text(5)}, ["name"]),
    "several": one_or_more(text(3), 2),
    "brief": or_text(text(5), nested({"name": text(5)}, ["name"]), "name"),
}


@pytest.mark.parametrize(
    ("name", "value", "field", "fix"),
    [
        ("text", 5, "text", "text"),
        ("text", "", "text", "1 to 5"),
        ("text", "abcdef", "text", "1 to 5"),
        ("text", "a\0", "text", "printable"),
        ("text", "\ud800", "text", "printable"),
        ("whole", True, "whole", "whole number"),
        ("whole", 1.0, "whole", "whole number"),
        ("whole", 10, "whole", "from 1 to 9"),
        ("flag", 1, "flag", "true or false"),
        ("choice", "c", "choice", "a, b"),
        ("choice", ["a"], "choice", "a, b"),
        ("record", None, "record", "id"),
        ("record", True, "record", "id"),
        ("record", "x" * 256, "record", "id"),
        ("handle", 5, "handle", "text"),
        ("array", "abc", "array", "array"),
        ("array", [], "array", "1 to 2"),
        ("array", ["a", "b", "c"], "array", "1 to 2"),
        ("array", ["a", 5], "array[1]", "text"),
        ("object", [], "object", "object"),
        ("object", {"a": 1, "b": 2, "c": 3}, "object", "at most 2"),
        ("object", {"a": "x" * 30, "b": "x" * 30}, "object", "50 bytes"),
        ("object", {"a": {1}}, "object.a", "JSON"),
        ("object", {5: 1}, "object.5", "text"),
        ("any", float("inf"), "any", "JSON"),
        ("any", NESTED, "any", "JSON"),
        ("any", "\ud800", "any", "JSON"),
        ("any", "x" * 49, "any", "50 bytes"),
        ("nested", "x", "nested", "object"),
        ("nested", {}, "nested.name", "required"),
        ("nested", {"name": "a", "age": 5}, "nested.age", "unknown"),
        ("several", [], "several", "1 to 2"),
        ("several", "abcd", "several", "1 to 3"),
        ("several", 5, "several", "array"),
        ("brief", "", "brief", "1 to 5"),
        ("brief", ["a"], "brief", "object"),
        ("brief", {"name": ""}, "brief.name", "1 to 5"),
        ("other", 1, "other", "unknown"),
    ],
)
def test_what_does_not_fit_is_named_with_the_fix(
    name: str, value: Any, field: str, fix: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as raised:
        Arguments(KINDS).check({name: value})

    assert raised.value.field == field
    assert raised.value.message.startswith(f"{field}: ")
    assert fix in raised.value.message


def test_what_fits_comes_back_as_the_tool_works_with_it() -> None:
    given_ = {
        "text": "ü",
        "whole": 9,
        "flag": False,
        "choice": "b",
        "record": 7,
        "handle": "as_\0\ud800",
        "array": ["a"],
        "object": {"k": [1, None]},
        "any": {"a": "ü\0"},
        "nested": {"name": "n"},
        "several": "a",
        "brief": "n",
    }
    found = Arguments(KINDS, list(KINDS)).check(given_)

    assert found == {
        **given_,
        "handle": "as_??",
        "object": {"k": "[1,null]"},
        "any": '{"a":"ü\\u0000"}',
        "several": ["a"],
        "brief": {"name": "n"},
    }


def test_an_argument_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidArgumentsError, match="text: this argument is required"):
        Arguments(KINDS, ["text"]).check({})


def test_the_schema_is_one() -> None:
    check_schema(Arguments(KINDS, ["text"]).schema())


VALUES: Any = st.one_of(
    st.integers(-2, 12),
    st.text(max_size=4),
    st.booleans(),
    st.none(),
    st.lists(st.text(max_size=4), max_size=3),
    st.dictionaries(st.sampled_from(["name", "k", "v"]), st.text(max_size=4), max_size=3),
)


@given(st.sampled_from(list(KINDS)), VALUES)
def test_what_is_accepted_fits_the_schema(name: str, value: Any) -> None:
    form = Arguments(KINDS)
    try:
        form.check({name: value})
    except InvalidArgumentsError:
        return
    Draft202012Validator(form.schema()).validate({name: value})
