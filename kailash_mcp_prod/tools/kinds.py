"""The kinds of calls, whose rates may be limited apart."""

from __future__ import annotations

from kailash_mcp_prod.tools.spec import ToolSpec

_BULK = "bulk_"
_OWN = frozenset({"session", "workflow", "monitor"})


def kind_of(tool: ToolSpec) -> str:
    """`read`, `write` or `bulk` for what touches records, else `session`, `workflow`, `monitor`.

    A tool that is none of these is a `read` or a `write` by what it says of itself.
    """
    if tool.operation is not None:
        if tool.operation.startswith(_BULK):
            return "bulk"
    elif tool.permissions:
        subject = tool.permissions[0].partition(":")[0]
        if subject in _OWN:
            return subject
        if subject == "nexus":
            return "workflow"
    return "read" if tool.hints.read_only else "write"
