from __future__ import annotations

import json
from typing import Any

from kailash_mcp_prod.sessions.workflow_tools import workflow_tools
from kailash_mcp_prod.tools.spec import ToolCall
from kailash_mcp_prod.tools.surfaces import groups
from tests.json_schema import check_schema

MOST_TOKENS = 900
CHARACTERS_PER_TOKEN = 4


class Sessions:
    async def create(self, call: ToolCall, arguments: Any) -> dict[str, Any]:
        return {}

    execute = status = cleanup = create


def tokens(tools: Any) -> float:
    return len(json.dumps(tools, separators=(",", ":"))) / CHARACTERS_PER_TOKEN


def test_the_tools_take_little_of_a_list() -> None:
    tools = workflow_tools(Sessions())

    assert tokens([each.to_mcp(complete=False) for each in tools]) < MOST_TOKENS
    own = {each.name: each for each in tools}
    actions = {
        action: own[name] for action, name in groups.WORKFLOWS.actions.items() if name in own
    }
    assert tokens(groups.listed(groups.WORKFLOWS, actions)) < MOST_TOKENS / 3


def test_the_schemas_are_valid() -> None:
    for each in workflow_tools(Sessions()):
        check_schema(each.input_schema)
        check_schema(each.output_schema)
        assert each.permissions in {("workflow:read",), ("workflow:write",)}
