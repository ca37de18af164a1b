"""The tools for workflow sessions: what clients are told of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.spec import Hints, Listing, ToolCall, ToolSpec

Schema = dict[str, Any]
Run = Callable[[ToolCall, Mapping[str, Any]], Awaitable[dict[str, Any]]]

GROUP: Final = "workflow"
"""The group of these tools, which no step may call."""

_TEXT: Final[Schema] = {"type": "string"}
_OBJECT: Final[Schema] = {"type": "object"}
_ID: Final = "workflow_session_id"


class Sessions(Protocol):
    """What the tools do; `WorkflowSessions` does it."""

    async def create(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a session for the caller."""

    async def execute(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Does one step, or all that the template has left."""

    async def status(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Where a session stands."""

    async def cleanup(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Removes sessions of the caller."""


def workflow_tools(sessions: Sessions) -> list[ToolSpec]:
    """The four tools.

    Args:
        sessions: Does what they say.
    """
    return [
        _tool(
            "create_agent_workflow_session",
            "Start a workflow session",
            "Starts a durable sequence of steps; a template of the type workflow_type gives them, "
            "else you do. Members of session_config are {{session.…}} in steps; enable_caching, "
            "on_error and timeout_minutes are settings.",
            {"agent_id": _TEXT, "workflow_type": _TEXT, "session_config": _OBJECT},
            ("workflow_type",),
            hints=Hints(read_only=False, destructive=False, idempotent=False),
            run=sessions.create,
            takes_keys=True,
        ),
        _tool(
            "execute_workflow_step",
            "Execute a workflow step",
            "Does a step once, also when sent again. step_config by type: dataflow_operation "
            "{model, operation, parameters}, tool {tool, arguments}, workflow {workflow, inputs}, "
            "parallel or sequence {steps: [{step_name, type, …}]} (a sequence may be atomic), "
            "condition {condition: {left, operator, right}, then, else}. Any may have on_error "
            "(stop, retry, compensate, continue) and compensate (a step that undoes it). Values "
            "may be {{previous_result.id}}, {{steps.NAME.id}}, {{session.x}}. run_all does what "
            "the template has left.",
            {
                _ID: _TEXT,
                "step_name": _TEXT,
                "step_config": _OBJECT,
                "run_all": {"type": "boolean"},
            },
            (_ID,),
            # Of the worst that a step may do.
            hints=Hints(read_only=False, destructive=True, idempotent=True),
            run=sessions.execute,
            runs_others=True,
        ),
        _tool(
            "get_workflow_session_status",
            "See a workflow session",
            "Tells which steps of a session are done, failed, interrupted or left.",
            {_ID: _TEXT, "include_results": {"type": "boolean"}},
            (_ID,),
            hints=Hints(read_only=True, destructive=False, idempotent=True),
            run=sessions.status,
        ),
        _tool(
            "cleanup_workflow_sessions",
            "Remove workflow sessions",
            "Removes one of your sessions, or those that are over or idle for idle_minutes. "
            "Records stay.",
            {_ID: _TEXT, "idle_minutes": {"type": "number", "minimum": 0}},
            (),
            hints=Hints(read_only=False, destructive=True, idempotent=True),
            run=sessions.cleanup,
        ),
    ]


def _tool(
    name: str,
    title: str,
    description: str,
    properties: Mapping[str, Schema],
    required: tuple[str, ...],
    *,
    hints: Hints,
    run: Run,
    takes_keys: bool = False,
    runs_others: bool = False,
) -> ToolSpec:
    schema: Schema = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)

    async def handle(call: ToolCall) -> dict[str, Any]:
        for given in call.arguments:
            if given not in properties:
                raise InvalidArgumentsError(
                    f"{shown(given)}: unknown argument: remove it or mend its name.",
                    field=shown(given),
                    details={"known_fields": list(properties)},
                )
        for needed in required:
            if needed not in call.arguments:
                raise InvalidArgumentsError(f"{needed}: this argument is required.", field=needed)
        return await run(call, call.arguments)

    return ToolSpec(
        name=name,
        title=title,
        description=description,
        input_schema=schema,
        output_schema=_OUTPUTS[name],
        hints=hints,
        permissions=(f"{GROUP}:{'read' if hints.read_only else 'write'}",),
        group=GROUP,
        handler=handle,
        listing=Listing(
            description,
            {name: part for name, part in schema.items() if name != "additionalProperties"},
        ),
        takes_keys=takes_keys,
        runs_others=runs_others,
    )


def _result(properties: Mapping[str, Schema], *optional: str) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_NAMES: Final[Schema] = {"type": "array", "items": _TEXT}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_OVERVIEW: Final[dict[str, Schema]] = {
    _ID: _TEXT,
    "workflow_type": _TEXT,
    "agent_id": {"type": ["string", "null"]},
    "status": {"enum": ["active", "compensating", "compensated", "compensation_failed"]},
    "created_at": _TIME,
    "updated_at": _TIME,
    "expires_at": _TIME,
    "remaining_steps": _NAMES,
}
_STEP: Final = _result(
    {
        "step_name": _TEXT,
        "step_number": _COUNT,
        "type": _TEXT,
        "status": {"enum": ["running", "interrupted", "done", "failed"]},
        "started_at": _TIME,
        "finished_at": {"anyOf": [_TIME, {"type": "null"}]},
        "error": _OBJECT,
        "result": {},
    },
    "error",
    "result",
)
_OUTPUTS: Final[dict[str, Schema]] = {
    "create_agent_workflow_session": _result(_OVERVIEW),
    "execute_workflow_step": _result(
        {
            "success": {"type": "boolean"},
            "result": {},
            _ID: _TEXT,
            "step_name": _TEXT,
            "step_number": _COUNT,
            "cached": {"const": True},
            "repeated": {"const": True},
            "error": _OBJECT,
            "failed_steps": _OBJECT,
        },
        "step_name",
        "step_number",
        "cached",
        "repeated",
        "error",
        "failed_steps",
    ),
    "get_workflow_session_status": _result(
        {
            **_OVERVIEW,
            "steps": {"type": "array", "items": _STEP},
            "completed_steps": _COUNT,
            "error": _OBJECT,
        },
        "error",
    ),
    "cleanup_workflow_sessions": _result({"removed": _COUNT, "workflow_session_ids": _NAMES}),
}
