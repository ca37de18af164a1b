"""`MCPProcedureNode`: a node of Kailash workflows that runs a function which calls tools.

The module imports kailash, so import it late.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from kailash.nodes.base import NodeParameter, register_node
from kailash.nodes.base_async import AsyncNode

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.sessions.calling import current_calls


class ToolCalls:
    """The tools, for a procedure.

    Args:
        node: The node that runs it.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    async def __call__(self, step: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a tool as whoever runs the workflow.

        Args:
            step: A name for what is done, once in a run. In a workflow session, what was written
                under it before the server broke down is not written again when the step runs anew.
            tool: The tool.
            arguments: Its arguments.

        Raises:
            ServerError: The call failed.
        """
        return await current_calls()(f"{self._node}.{step}", tool, arguments)


@register_node()
class MCPProcedureNode(AsyncNode):  # type: ignore[misc]
    """Runs `procedure`, an async function named as `module:function`; its output is `result`.

    The function gets a `ToolCalls` and those of the node's inputs that it has parameters for.

    Example:
        ```python
        workflow.add_node("MCPProcedureNode", "price", {"procedure": "workflows.quotes:price"})
        ```
    """

    def get_parameters(self) -> dict[str, NodeParameter]:
        """The node's parameters, for Kailash."""
        return {
            "procedure": NodeParameter(
                name="procedure",
                type=str,
                required=True,
                description="The function, as module:function.",
            )
        }

    async def execute_async(self, **inputs: Any) -> dict[str, Any]:
        """Runs the function.

        Instead of Kailash's own method, which would replace `${…}` in texts and wrap errors.

        Raises:
            ServerError: What the function raises.
        """
        module, _, name = str(self.config["procedure"]).partition(":")
        function = getattr(importlib.import_module(module), name, None)
        if function is None:
            raise ConfigError(f"There is no function {name} in {module}.")
        known = inspect.signature(function).parameters
        given = {name: value for name, value in inputs.items() if name in known}
        result = await function(ToolCalls(self.id), **given)
        return {**result, "result": result} if isinstance(result, Mapping) else {"result": result}
