"""Spans of what a call passes before and while its tool works."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.guard.breakers import Passage
from kailash_mcp_prod.tools.spec import Handler, ToolCall, ToolSpec
from kailash_mcp_prod.tools.stages import Handlers, Places, Reads

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class TracedPlaces:
    """Places whose wait is a span, and so is what came before it: policy, limits and breakers."""

    def __init__(self, inner: Places, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def slot(self, subject: str) -> AbstractAsyncContextManager[None]:
        """See `ConcurrencyLimit.slot`."""
        return _TracedSlot(self._inner.slot(subject), self._tracer)

    async def idle_within(self, seconds: float) -> bool:
        """See `ConcurrencyLimit.idle_within`."""
        return await self._inner.idle_within(seconds)


class _TracedSlot:
    def __init__(self, inner: AbstractAsyncContextManager[None], tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def __aenter__(self) -> None:
        from opentelemetry.trace import get_current_span

        now = time.time_ns()
        # That of the call, which is nobody's else here.
        began = getattr(get_current_span(), "start_time", None)
        self._tracer.start_span("policy and limits", start_time=began or now).end(now)
        with self._tracer.start_as_current_span("wait for a place", start_time=now):
            await self._inner.__aenter__()

    async def __aexit__(self, *failure: Any) -> bool | None:
        return await self._inner.__aexit__(*failure)


class TracedReads:
    """A cache whose answers are spans."""

    def __init__(self, inner: Reads, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    async def run(
        self, tool: ToolSpec, call: ToolCall, passage: Passage, handle: Handler
    ) -> dict[str, Any]:
        """See `CachedReads.run`."""
        if tool.operation is None or not tool.hints.read_only:
            return await self._inner.run(tool, call, passage, handle)
        with _plain_span(self._tracer, "cache") as span:
            try:
                return await self._inner.run(tool, call, passage, handle)
            finally:
                span.set_attribute("kailash_mcp_prod.cache.hit", not passage.used)


class TracedHandlers:
    """Handlers whose work is a span."""

    def __init__(self, inner: Handlers, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def of(self, tool: ToolSpec) -> Handler:
        """See `Turns.of`."""
        handle = self._inner.of(tool)

        async def traced(call: ToolCall) -> dict[str, Any]:
            with _plain_span(self._tracer, f"handle {tool.operation or tool.name}"):
                return await handle(call)

        return traced


def _plain_span(tracer: Tracer, name: str) -> Any:
    """A span that keeps no text of an exception: it may quote what a client has sent."""
    return tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)
