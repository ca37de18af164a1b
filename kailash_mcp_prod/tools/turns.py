"""Turns at a backend that does fewer things at once than the server."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.tools.spec import Handler, ToolCall, ToolSpec


class Turns:
    """Runs the tools of a backend as its places allow, one principal's calls after another's.

    Without it the calls that run would queue up for the backend in the order in which they came:
    all those of one principal before the first of the next.

    Args:
        backend: The backend.
        places: How many of its tools run at once.

    None are taken before `needed` is set: SQLite does best with all calls that there are at once.
    """

    def __init__(self, backend: str, places: ConcurrencyLimit) -> None:
        self._backend = backend
        self._places = places
        self.needed = False

    def of(self, tool: ToolSpec) -> Handler:
        """The handler of a tool, which waits for its turn if it needs one."""
        if not self.needed or tool.backend != self._backend:
            return tool.handler

        async def handle(call: ToolCall) -> dict[str, Any]:
            async with self._places.slot(call.principal.subject):
                return await tool.handler(call)

        return handle
