"""Lets a model answer a question with the tools of a server. `README.md` names the variables."""

from __future__ import annotations

import os
import sys
from typing import Any

from kailash.runtime.local import LocalRuntime
from kailash.workflow.builder import WorkflowBuilder

import kailash_mcp_prod.agents  # noqa: F401 - registers MCPLLMAgentNode


def server() -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": "kailash",
        "url": os.environ.get("MCP_URL", "http://127.0.0.1:3001/mcp"),
    }
    if key := os.environ.get("MCP_API_KEY"):
        entry["auth"] = {"type": "api_key", "key": key}
    elif token := os.environ.get("MCP_TOKEN"):
        entry["auth"] = {"type": "jwt", "token": token}
    return entry


def main() -> None:
    if "OPENAI_API_KEY" not in os.environ:
        sys.exit("Set OPENAI_API_KEY.")
    question = os.environ.get("QUESTION", "Which companies are there? Name at most five.")
    settings: dict[str, Any] = {
        "provider": "openai",
        "model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        "messages": [{"role": "user", "content": question}],
        "mcp_servers": [server()],
        "tools_to_use": ["Company_*"],
    }
    if base_url := os.environ.get("OPENAI_BASE_URL"):
        settings["base_url"] = base_url
    workflow = WorkflowBuilder()
    workflow.add_node("MCPLLMAgentNode", "agent", settings)
    with LocalRuntime() as runtime:
        results, _ = runtime.execute(workflow.build())
    answer = results["agent"]
    if answer.get("failed"):
        sys.exit(answer["error"])
    print(answer["response"]["content"])


if __name__ == "__main__":
    main()
