"""A small application with a workflow, for servers that are killed."""

from __future__ import annotations

import os
from typing import Any

from dataflow import DataFlow

from kailash_mcp_prod import WorkflowRegistry

db = DataFlow(
    os.environ["DATABASE_URL"], pool_size=20, enable_caching=False, enable_model_persistence=False
)


@db.model
class Item:
    """An item."""

    id: str
    name: str
    note: str = ""


def two_items() -> Any:
    from kailash.workflow.builder import WorkflowBuilder

    import kailash_mcp_prod.sessions.tool_node  # noqa: F401

    builder = WorkflowBuilder()
    for node, text in (("first", "{{name}}-1"), ("second", "{{name}}-2")):
        arguments = {"data": {"name": text}}
        builder.add_node("MCPToolNode", node, {"tool": "Item_create", "arguments": arguments})
    builder.add_connection("first", "result", "second", "made")
    return builder


registry = WorkflowRegistry()
registry.add_workflow("two_items", two_items, required=("name",), output="second.result")
