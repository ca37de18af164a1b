"""The body of `execute-tool`: two ways to say the same, and who calls is told by neither."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.nexus.rest_bodies import NamedCall, named_call


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"tool_name": "x"}, NamedCall("x", {}, None)),
        ({"name": "x", "arguments": {"a": 1}}, NamedCall("x", {"a": 1}, None)),
        ({"tool_name": "x", "parameters": {"a": 1}}, NamedCall("x", {"a": 1}, None)),
        (
            {"tool_name": "x", "parameters": {"a": 1}, "agent_id": "me", "session_id": "s"},
            NamedCall("x", {"a": 1, "_session_id": "s"}, "me"),
        ),
        ({"tool_name": "x", "agent_id": None, "session_id": None}, NamedCall("x", {}, None)),
    ],
)
def test_a_body_names_a_call(body: dict[str, Any], call: NamedCall) -> None:
    assert named_call(body) == call


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "tool_name"),
        ({"tool": "x"}, "tool"),
        ({"name": ""}, "name"),
        ({"tool_name": "x", "name": "x"}, "name"),
        ({"tool_name": "x", "arguments": []}, "arguments"),
        ({"tool_name": "x", "parameters": "a"}, "parameters"),
        ({"tool_name": "x", "arguments": {}, "parameters": {}}, "parameters"),
        ({"tool_name": "x", "session_id": 1}, "session_id"),
        ({"tool_name": "x", "session_id": ""}, "session_id"),
        (
            {"tool_name": "x", "parameters": {"_session_id": "s"}, "session_id": "s"},
            "session_id",
        ),
        ({"tool_name": "x", "agent_id": {}}, "agent_id"),
        ({"tool_name": "x", "agent_id": "a" * 256}, "agent_id"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentsError) as error:
        named_call(body)

    assert error.value.field == field


def test_the_given_arguments_stay_as_they_are() -> None:
    parameters = {"a": 1}
    named_call({"tool_name": "x", "parameters": parameters, "session_id": "s"})

    assert parameters == {"a": 1}
