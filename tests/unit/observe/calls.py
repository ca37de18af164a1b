"""Calls of tools, as watchers are told of them."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec


async def nothing(_call: ToolCall) -> dict[str, Any]:
    return {}


def tool(name: str) -> ToolSpec:
    """A record tool, by the part of its name after the model; others without one."""
    model, _, operation = name.partition("_")
    return ToolSpec(
        name=name,
        title="",
        description="",
        input_schema={},
        output_schema={},
        hints=Hints(read_only=False, destructive=False, idempotent=False),
        permissions=(),
        group=model,
        handler=nothing,
        operation=operation if model[0].isupper() else None,
    )


def report(
    name: str,
    outcome: str = "ok",
    *,
    result: dict[str, Any] | None = None,
    seconds: float = 0.01,
    subject: str = "key:a",
    is_part: bool = False,
    found: bool = True,
) -> CallReport:
    """A call that has ended."""
    call = ToolCall(Principal(subject, frozenset()), {}, "r1")
    made = CallReport(call, name, is_part=is_part)
    made.tool = tool(name) if found else None
    made.result = result
    made.finish(outcome)
    made.seconds = seconds
    return made
