"""An argument as clients repeat it in a header; the server and the bridge go by this one rule.

Source: the header `Mcp-Param-…` of MCP 2026-07-28, page *Streamable HTTP*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def text_at(arguments: Any, path: Sequence[str]) -> str | None:
    """The text that stands in the header; `None` for what has none there.

    Args:
        arguments: The arguments of a call.
        path: The names that lead to the argument.
    """
    value = arguments
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
        case _:
            return None
