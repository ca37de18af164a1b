"""What a caller is told whose call took too long."""

from __future__ import annotations

from kailash_mcp_prod.errors import CallTimeoutError
from kailash_mcp_prod.tools.spec import ToolSpec


def took_too_long(tool: ToolSpec, seconds: float) -> CallTimeoutError:
    """The error of a call that was stopped; a change of it may have been stored."""
    said = f"{tool.name} took longer than {seconds:g} s and was stopped."
    if tool.hints.read_only:
        return CallTimeoutError(f"{said} Ask for less at once, or try again.")
    return CallTimeoutError(
        f"{said} See whether its change was stored before you try again.",
        details={"outcome": "unknown"},
    )
