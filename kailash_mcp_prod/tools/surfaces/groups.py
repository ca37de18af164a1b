"""Tools of the surface `compact` that stand for a family of other tools: `action` says which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, NotRequired

from annotated_types import MaxLen
from msgspec.structs import replace
from pydantic import ConfigDict, Field, Strict
from typing_extensions import TypedDict

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.forms import Form, FormError
from kailash_mcp_prod.records.problems import describe_findings
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.base import Resolved


class _Arguments(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    action: Annotated[str, Strict(), MaxLen(64)]
    arguments: NotRequired[
        Annotated[dict[str, Any], Strict(), Field(description="Those of the action.")]
    ]


@dataclass(frozen=True, slots=True)
class ToolGroup:
    """A family of tools behind one.

    `actions` says which tool each action is; what a caller may not call is no action for it.
    """

    name: str
    title: str
    description: str
    actions: Mapping[str, str]


SESSIONS: Final = ToolGroup(
    name="sessions",
    title="Sessions and collaboration",
    description=(
        "Keeps sessions of yours, and lets you work with other agents in workspaces: roles, a "
        "blackboard, messages, leases on records."
    ),
    actions={
        "create": "create_agent_session",
        "get": "get_agent_session",
        "list": "list_agent_sessions",
        "get_context": "get_agent_context",
        "update_context": "update_agent_context",
        "end": "end_agent_session",
        "collaborate": "enable_agent_collaboration",
        "respond": "respond_to_invitation",
        "workspaces": "list_collaborations",
        "leave": "leave_collaboration",
        "write": "write_blackboard",
        "read": "read_blackboard",
        "send": "send_agent_message",
        "receive": "read_agent_messages",
        "lease": "acquire_lease",
        "release": "release_lease",
    },
)

WORKFLOWS: Final = ToolGroup(
    name="workflows",
    title="Workflow sessions",
    description=(
        "Durable sequences of steps. step_config: {type: dataflow_operation, model, operation, "
        "parameters}, or type tool, workflow, parallel, sequence, condition; values such as "
        "{{previous_result.id}} refer to earlier steps."
    ),
    actions={
        "start": "create_agent_workflow_session",
        "execute": "execute_workflow_step",
        "status": "get_workflow_session_status",
        "remove": "cleanup_workflow_sessions",
        "nexus_workflows": "get_nexus_workflows",
        "nexus": "execute_nexus_workflow",
    },
)

MONITOR: Final = ToolGroup(
    name="monitor",
    title="The server",
    description="Shows how the server is and what you may call.",
    actions={
        "metrics": "get_server_metrics",
        "integrations": "get_integration_metrics",
        "health": "health_check",
        "tools": "get_available_tools",
    },
)

GROUPS: Final = (SESSIONS, WORKFLOWS, MONITOR)


@cache
def _form() -> Form:
    # When it is first needed: it takes a while to make.
    return Form(_Arguments)


# The tools by the action that they are.
Actions = Mapping[str, ToolSpec]


def listed(group: ToolGroup, actions: Actions) -> dict[str, Any]:
    """The MCP `Tool` object of a group, for a caller with these actions."""
    signatures = ", ".join(f"{name}({_names(tool)})" for name, tool in actions.items())
    hints = [tool.hints for tool in actions.values()]
    worst = Hints(
        read_only=all(each.read_only for each in hints),
        destructive=any(each.destructive for each in hints),
        idempotent=all(each.idempotent for each in hints),
    )
    return {
        "name": group.name,
        "title": group.title,
        "description": f"{group.description} Actions: {signatures}",
        "inputSchema": {
            "type": "object",
            "properties": {"action": {"enum": list(actions)}, "arguments": {"type": "object"}},
            "required": ["action"],
            "additionalProperties": False,
        },
        "annotations": worst.to_mcp(complete=False),
    }


def resolve(actions: Actions, call: ToolCall) -> Resolved:
    """The tool that the action is, with its arguments.

    Raises:
        InvalidArgumentsError: The action is missing or none of these.
    """
    try:
        checked = _form().check(call.arguments)
    except FormError as error:
        raise describe_findings(error.found, known=["action", "arguments"]) from None
    tool = actions.get(checked["action"])
    if tool is None:
        raise _unknown(actions)
    return Resolved(tool, replace(call, arguments=checked.get("arguments", {})), below="arguments")


def _unknown(actions: Collection[str]) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"action: use one of: {', '.join(actions)}.",
        field="action",
        details={"choices": list(actions)},
    )


def _names(tool: ToolSpec) -> str:
    schema = tool.input_schema if tool.listing is None else tool.listing.input_schema
    required = schema.get("required", ())
    return ", ".join(
        name if name in required else f"{name}?" for name in schema.get("properties", {})
    )
