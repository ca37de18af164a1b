"""Spans of requests, as part of the trace that the client has begun.

Source: the W3C recommendation *Trace Context*; SEP-414 of MCP, which puts it into `_meta`; and
OpenTelemetry's conventions for MCP and HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.protocol import SUPPORTED_REVISIONS, Context, Reply, Request
from kailash_mcp_prod.protocol.revisions import META_PROTOCOL_VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace import Tracer

Answer = Callable[[Request, Context], Awaitable[Reply | None]]

_PARENT, _STATE = "traceparent", "tracestate"
_LONGEST: Final = 512
_LONGEST_ID: Final = 64
_NETWORK: Final = {
    "http": {"network.transport": "tcp", "network.protocol.name": "http"},
    "websocket": {"network.transport": "tcp", "network.protocol.name": "websocket"},
    "stdio": {"network.transport": "pipe"},
}


class RequestSpans:
    """Makes a span of each request of MCP.

    Args:
        tracer: Makes spans.
        methods: The names of all methods; every other one is `_other`.
    """

    def __init__(self, tracer: Tracer, methods: frozenset[str] = frozenset()) -> None:
        self._tracer = tracer
        self.methods = methods

    async def around(self, request: Request, context: Context, answer: Answer) -> Reply | None:
        """Answers a request within its span."""
        from opentelemetry.trace import SpanKind, StatusCode

        method = request.method if request.method in self.methods else "_other"
        with self._tracer.start_as_current_span(
            method,
            context=parent_of(_carrier(request, context)),
            kind=SpanKind.SERVER,
            attributes=_attributes(request, context, method),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            reply = await answer(request, context)
            problem = _problem(reply)
            if problem is not None:
                span.set_attribute("error.type", problem)
                span.set_status(StatusCode.ERROR, problem)
            return reply


def _problem(reply: Reply | None) -> str | None:
    if reply is None:
        return "cancelled"
    if reply.error_code is not None:
        return str(reply.error_code)
    return "tool_error" if reply.is_error else None


def _attributes(request: Request, context: Context, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mcp.method.name": method,
        "kailash_mcp_prod.request_id": context.request_id,
        **_NETWORK.get(context.transport, {}),
    }
    if len(text := str(request.id)) <= _LONGEST_ID:
        found["jsonrpc.request.id"] = text
    meta = request.params.get("_meta")
    version = meta.get(META_PROTOCOL_VERSION) if isinstance(meta, dict) else None
    if version is None and context.connection is not None:
        version = context.connection.version
    if isinstance(version, str) and version in SUPPORTED_REVISIONS:
        found["mcp.protocol.version"] = version
    return found


def _carrier(request: Request, context: Context) -> Mapping[str, Any]:
    """Where a request says which trace it belongs to: it is nearer than the connection's head."""
    meta = request.params.get("_meta")
    if isinstance(meta, dict) and _PARENT in meta:
        return meta
    if context.trace is None:
        return {}
    return dict(zip((_PARENT, _STATE), context.trace, strict=True))


def parent_of(carrier: Mapping[str, Any]) -> TraceContext:
    """The trace that a client names; a new one if it names none, or not as the standard says."""
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    named = {
        name: text
        for name in (_PARENT, _STATE)
        if isinstance(text := carrier.get(name), str) and len(text) <= _LONGEST
    }
    return TraceContextTextMapPropagator().extract(named, TraceContext())


class RestSpans:
    """An ASGI application with a span of each request over HTTP.

    Args:
        app: The application.
        tracer: Makes spans.
    """

    def __init__(self, app: Any, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def stop(self) -> None:
        """Stops the application."""
        await self._app.stop()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode

        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        with self._tracer.start_as_current_span(
            f"{method} {_route(scope['path'])}",
            context=parent_of(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": _route(scope["path"])},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_attribute("error.type", str(status))
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, noting)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTES: Final = frozenset(
    {"/tools", "/metrics", "/health", "/health/live", "/health/ready", "/docs", "/openapi.json"}
)


def _route(path: str) -> str:
    """The path without what clients choose in it, because names of spans are few."""
    if path.startswith("/tools/"):
        return "/tools/{name}"
    if path.startswith("/dashboard"):
        return "/dashboard"
    return path if path in _ROUTES else "_other"
