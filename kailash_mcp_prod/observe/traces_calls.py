"""Spans of calls of tools, in which all that is done for a call has its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.observe.logs import of_the_call
from kailash_mcp_prod.tools.call_reports import INPUT_REQUIRED, OK, CallReport

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span, Tracer

_GOOD: Final = frozenset({OK, INPUT_REQUIRED})


class CallSpans:
    """Makes a span of each call.

    Args:
        tracer: Makes spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # No bound of its own: there are no more than run and wait at once.
        self._open: dict[int, tuple[Span, Any, Token[Any]]] = {}

    def begin(self, report: CallReport) -> None:
        """A call has come in; its lines in the log tell its trace from now on."""
        from opentelemetry import context, trace

        span = self._tracer.start_span("execute_tool")
        token = context.attach(trace.set_span_in_context(span))
        told = of_the_call.set({**of_the_call.get(), **ids_of(span)})
        self._open[id(report)] = span, token, told

    def end(self, report: CallReport) -> None:
        """It is over."""
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        found = self._open.pop(id(report), None)
        if found is None:
            return
        span, token, told = found
        of_the_call.reset(told)
        context.detach(token)
        if span.is_recording():
            # What a client has written as a name may be anything.
            name = "_other" if report.tool is None else report.tool.name
            span.update_name(f"execute_tool {name}")
            span.set_attributes(_attributes(report, name))
            if report.outcome not in _GOOD:
                span.set_attribute("error.type", report.outcome)
                span.set_status(StatusCode.ERROR, report.outcome)
        span.end()

    def details(self, report: CallReport) -> dict[str, Any]:
        """What the line of a call in the log tells of its trace."""
        found = self._open.get(id(report))
        return {} if found is None else ids_of(found[0])


def _attributes(report: CallReport, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "enduser.id": report.call.principal.subject,
        "kailash_mcp_prod.request_id": report.call.request_id,
        "kailash_mcp_prod.cache.hit": report.from_cache,
        "kailash_mcp_prod.part": report.is_part,
    }
    if report.tool is not None and report.tool.operation is not None:
        found["kailash_mcp_prod.model"] = report.tool.group
        found["kailash_mcp_prod.operation"] = report.tool.operation
    return found


def ids_of(span: Span) -> dict[str, str]:
    """The ids of a span and its trace, as they stand in the log."""
    where = span.get_span_context()
    return {"trace_id": f"{where.trace_id:032x}", "span_id": f"{where.span_id:016x}"}
