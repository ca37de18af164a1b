"""`logging/setLevel` of the old era; in the new one each request names its level itself.

Source: the page *Logging* of MCP 2025-11-25.
"""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.protocol.faults import INVALID_REQUEST, RpcError
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.peers import checked_level
from kailash_mcp_prod.protocol.revisions import Era


async def _set_level(call: Call) -> dict[str, Any]:
    level = checked_level(call.params.get("level"))
    connection = call.context.connection
    if connection is None:
        raise RpcError(INVALID_REQUEST, "Send an initialize request first.")
    connection.log_level = level
    return {}


LOGGING_METHODS = (Method("logging/setLevel", _set_level, frozenset({Era.LEGACY})),)
"""The entries for the method table."""
