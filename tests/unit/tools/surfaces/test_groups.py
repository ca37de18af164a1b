"""The tools of the surface `compact` that stand for families of tools."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall
from kailash_mcp_prod.tools.surfaces.compact import CompactSurface
from kailash_mcp_prod.tools.surfaces.groups import SESSIONS
from tests.unit.tools.surfaces.test_budgets import tools_beside_records


@pytest.fixture
def compact() -> CompactSurface:
    registry = ToolRegistry()
    registry.add(tools_beside_records())
    return CompactSurface(registry, Policy())


def listed(compact: CompactSurface, who: Principal) -> list[dict[str, Any]]:
    tools = compact.listed(who, complete=False)
    return [tool for tool in tools if tool["name"] == "sessions"]


def call(who: Principal, **arguments: Any) -> ToolCall:
    return ToolCall(who, arguments, "r1")


def test_every_action_stands_for_its_tool(compact: CompactSurface) -> None:
    [tool] = listed(compact, ANONYMOUS)
    assert tool["inputSchema"]["properties"]["action"]["enum"] == list(SESSIONS.actions)
    for action, name in SESSIONS.actions.items():
        meant = compact.resolve(call(ANONYMOUS, action=action, arguments={"x": 1}), "sessions")
        assert meant is not None
        assert (meant.tool.name, meant.call.arguments, meant.below) == (
            name,
            {"x": 1},
            "arguments",
        )
        assert f"{action}(" in tool["description"]


def test_what_may_not_be_called_is_no_action(compact: CompactSurface) -> None:
    reader = Principal("key:reader", frozenset({"session:read"}))
    [tool] = listed(compact, reader)
    actions = tool["inputSchema"]["properties"]["action"]["enum"]

    assert actions == ["get", "list", "get_context", "workspaces", "read"]
    assert tool["annotations"]["readOnlyHint"] is True
    assert "create(" not in tool["description"]
    with pytest.raises(InvalidArgumentsError) as raised:
        compact.resolve(call(reader, action="create"), "sessions")
    assert raised.value.details == {"choices": actions}
    nobody = Principal("key:nobody", frozenset({"Company:read"}))
    assert listed(compact, nobody) == []
    assert compact.resolve(call(nobody, action="get"), "sessions") is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "action"),
        ({"action": 7}, "action"),
        ({"action": "steal"}, "action"),
        ({"action": "get", "arguments": []}, "arguments"),
        ({"action": "get", "session_id": "as_1"}, "session_id"),
    ],
)
def test_a_wrong_argument_is_named(
    compact: CompactSurface, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as raised:
        compact.resolve(call(ANONYMOUS, **arguments), "sessions")
    assert raised.value.field == field
