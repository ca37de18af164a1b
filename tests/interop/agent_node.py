"""Runs Kailash's stock LLMAgentNode, with its mock model, on one MCP server.

    python agent_node.py '{"name": …, "transport": "stdio", "command": …}'

The mock model calls the first two tools it is offered with `{"mock": "arguments"}`. The report has
the number of tools it was offered as `tools_available`, and as `calls` what its MCP client got
from the server: the node itself can't pass results on, because it fails to turn them into JSON
(kailash-kaizen 2.46.1).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import kaizen.nodes.ai  # noqa: F401 - registers LLMAgentNode
from kailash.runtime.local import LocalRuntime
from kailash.workflow.builder import WorkflowBuilder
from kailash_mcp import MCPClient

calls: list[dict[str, Any]] = []
call_tool = MCPClient.call_tool


async def recorded_call(
    self: MCPClient, server: Any, tool: str, arguments: Any, *rest: Any, **options: Any
) -> dict[str, Any]:
    answer = await call_tool(self, server, tool, arguments, *rest, **options)
    calls.append({"tool": tool, "arguments": arguments, "content": answer.get("content")})
    return answer


MCPClient.call_tool = recorded_call

workflow = WorkflowBuilder()
workflow.add_node(
    "LLMAgentNode",
    "agent",
    {
        "provider": "mock",
        "model": "mock",
        "messages": [{"role": "user", "content": "Please create a company."}],
        "mcp_servers": [json.loads(sys.argv[1])],
        "auto_discover_tools": True,
        "auto_execute_tools": True,
        "tool_execution_config": {"max_rounds": 1},
    },
)
with LocalRuntime() as runtime:
    results, _ = runtime.execute(workflow.build())

agent = results["agent"]
json.dump(
    {
        "success": agent["success"],
        "tools_available": agent["context"]["tools_available"],
        "tools_executed": agent["context"]["tools_executed"],
        "calls": calls,
    },
    sys.stdout,
)
