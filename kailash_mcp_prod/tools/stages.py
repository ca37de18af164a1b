"""What a call passes on its way through `ToolService`, as far as somebody may stand around it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from kailash_mcp_prod.guard.breakers import Passage
from kailash_mcp_prod.tools.spec import Handler, ToolCall, ToolSpec


class Places(Protocol):
    """How many calls run at once; see `ConcurrencyLimit`."""

    def slot(self, subject: str) -> AbstractAsyncContextManager[None]:
        """A place to run in, entered for a block."""

    async def idle_within(self, seconds: float) -> bool:
        """Waits until no call runs or waits; whether that came in time."""


class Reads(Protocol):
    """Answers for tools that read what it knows; see `CachedReads`."""

    async def run(
        self, tool: ToolSpec, call: ToolCall, passage: Passage, handle: Handler
    ) -> dict[str, Any]:
        """What the tool answers, now or a while ago."""


class Handlers(Protocol):
    """Knows how a tool is run; see `Turns`."""

    def of(self, tool: ToolSpec) -> Handler:
        """The handler of a tool."""
