"""`MCPToolNode`: a node of Kailash workflows that calls a tool of the server.

The module imports kailash, so import it late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kailash.nodes.base import NodeParameter, register_node
from kailash.nodes.base_async import AsyncNode

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.calling import current_calls
from kailash_mcp_prod.sessions.references import names_in, resolve

_OWN = frozenset({"tool", "arguments"})


@register_node()
class MCPToolNode(AsyncNode):  # type: ignore[misc]
    """Calls a tool as whoever runs the workflow; its output is `result`, the tool's result.

    Parameters: `tool`, its name, and `arguments`. In the arguments of the node's configuration
    `{{name}}` stands for an input of the node, which an edge or the workflow's parameters give, and
    `{{customer.id}}` for a part of one. Arguments that come as an input are taken as they are. No
    text is rewritten on the way.

    Example:
        ```python
        workflow.add_node(
            "MCPToolNode",
            "create",
            {"tool": "Customer_create", "arguments": {"data": {"name": "{{name}}"}}},
        )
        workflow.add_node(
            "MCPToolNode",
            "read",
            {"tool": "Customer_read", "arguments": {"id": "{{customer.id}}"}},
        )
        workflow.add_connection("create", "result", "read", "customer")
        ```
    """

    def get_parameters(self) -> dict[str, NodeParameter]:
        """The node's parameters, for Kailash: its own, and the inputs that its arguments name.

        `LocalRuntime` hands on no others.
        """
        inputs = names_in(getattr(self, "config", {}).get("arguments"))
        return {
            **{
                name: NodeParameter(
                    name=name, type=object, required=False, description="An input of the node."
                )
                for name in inputs
            },
            "tool": NodeParameter(
                name="tool", type=str, required=False, default="", description="The tool's name."
            ),
            "arguments": NodeParameter(
                name="arguments",
                type=dict,
                required=False,
                default={},
                description="The tool's arguments.",
            ),
        }

    async def execute_async(self, **inputs: Any) -> dict[str, Any]:
        """Calls the tool.

        Instead of Kailash's own method, which would replace `${…}` in texts and wrap errors.

        Raises:
            ServerError: The call failed.
        """
        tool = inputs.get("tool") or self.config.get("tool")
        if not isinstance(tool, str) or not tool:
            raise InvalidArgumentsError("tool: name the tool that the node calls.", field="tool")
        if "arguments" in inputs and inputs["arguments"] is not self.config.get("arguments"):
            arguments = inputs["arguments"]
        else:
            scope = {name: value for name, value in inputs.items() if name not in _OWN}
            arguments = resolve(self.config.get("arguments") or {}, scope, "arguments")
        if not isinstance(arguments, Mapping):
            raise InvalidArgumentsError("arguments: use an object.", field="arguments")
        result = await current_calls()(self.id, tool, arguments)
        # An edge from `result` carries just that with LocalRuntime, and the whole output with
        # AsyncLocalRuntime; so the members of the result are there in both.
        return {**result, "result": result}
