"""Tools of the surface `compact` that stand for a few tools each, chosen by `action`.

The arguments are those of the tool that is chosen, which validates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.base import FullSurface, Resolved


@dataclass(frozen=True, slots=True)
class Group:
    """One tool of the surface: its tools by the value of `action`."""

    name: str
    title: str
    description: str
    tools: Mapping[str, str]

    def reached(self, surface: FullSurface, principal: Principal) -> dict[str, ToolSpec]:
        """The tools that a principal may call, by action."""
        found = {action: surface.find(principal, name) for action, name in self.tools.items()}
        return {action: tool for action, tool in found.items() if tool is not None}

    def listed(self, reached: Mapping[str, ToolSpec]) -> dict[str, Any]:
        """The tool as an MCP `Tool` object, for those who may call some of its tools."""
        properties: dict[str, Any] = {"action": {"enum": list(reached)}}
        for tool in reached.values():
            properties |= tool.input_schema.get("properties", {})
        hints = [tool.hints for tool in reached.values()]
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": properties,
                "required": ["action"],
                "additionalProperties": False,
            },
            "annotations": Hints(
                read_only=all(each.read_only for each in hints),
                destructive=any(each.destructive for each in hints),
                idempotent=all(each.idempotent for each in hints),
            ).to_mcp(),
        }

    def resolve(self, reached: Mapping[str, ToolSpec], call: ToolCall) -> Resolved:
        """The tool that a call means, with its arguments.

        Raises:
            InvalidArgumentsError: `action` names none that the caller may call.
        """
        arguments = dict(call.arguments)
        action = arguments.pop("action", None)
        if not isinstance(action, str) or action not in reached:
            raise InvalidArgumentsError(
                f"action: use one of: {', '.join(reached)}.",
                field="action",
                details={"choices": list(reached)},
            )
        tool = reached[action]
        known = tool.input_schema.get("properties", {})
        for name in arguments:
            if name not in known:
                raise InvalidArgumentsError(
                    f"{shown(name)}: the action {action} does not take this: remove it.",
                    field=shown(name),
                    details={"known_fields": list(known)},
                )
        return Resolved(tool, replace(call, arguments=arguments))


GROUPS: tuple[Group, ...] = (
    Group(
        name="workflows",
        title="Workflow sessions",
        description=(
            "Durable sequences of steps. start {workflow_type}; execute {workflow_session_id, "
            "step_name, step_config}: type dataflow_operation {model, operation, parameters}, "
            "tool, workflow, parallel, sequence or condition, values such as "
            "{{previous_result.id}}; status; remove."
        ),
        tools={
            "start": "create_agent_workflow_session",
            "execute": "execute_workflow_step",
            "status": "get_workflow_session_status",
            "remove": "cleanup_workflow_sessions",
        },
    ),
)
