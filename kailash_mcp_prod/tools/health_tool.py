"""The tool `health_check`: how the server is, and each of its components."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.spec import Hints, Listing, ToolCall, ToolSpec

NAME: Final = "health_check"
PERMISSION: Final = "monitor:read"

_NOTHING: Final = {"type": "object", "additionalProperties": False}
_STATUS: Final = {"enum": ["healthy", "degraded", "unhealthy"]}
_OUTPUT: Final = {
    "type": "object",
    "properties": {
        "health_status": {"enum": ["healthy", "degraded", "unhealthy", "draining"]},
        "components": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"status": _STATUS},
                "required": ["status"],
            },
        },
    },
    "required": ["health_status", "components"],
    "additionalProperties": False,
}


def health_tool(report: Callable[[], Awaitable[dict[str, Any]]]) -> ToolSpec:
    """The tool over a report on health, fit for a caller's eyes."""

    async def handle(call: ToolCall) -> dict[str, Any]:
        for name in call.arguments:
            raise InvalidArgumentsError(
                f"There is no argument {shown(name)}. Leave it out.", field=shown(name)
            )
        return await report()

    return ToolSpec(
        name=NAME,
        title="Check the health",
        description=(
            "Tells how the server is, and each of its components: database, pool, state, Redis, "
            "cache, limits, breakers, event loop, memory, disk. What is asked is asked now, or was "
            "within the last second."
        ),
        input_schema=_NOTHING,
        output_schema=_OUTPUT,
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=(PERMISSION,),
        group="monitor",
        handler=handle,
        listing=Listing("Tells how the server and its components are.", _NOTHING),
    )
