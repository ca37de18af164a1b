"""What requests of MCP add up to, by the names of OpenTelemetry's conventions, and sessions."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection
from functools import partial
from typing import Any, Final, NamedTuple

from kailash_mcp_prod.observe.metrics_calls import OTHER, CallFigures
from kailash_mcp_prod.observe.metrics_histogram import BOUNDS, Histogram
from kailash_mcp_prod.protocol import SUPPORTED_REVISIONS, Context, Reply, Request
from kailash_mcp_prod.protocol.revisions import META_PROTOCOL_VERSION

TOOL_ERROR: Final = "tool_error"
"""What the conventions call a result with `isError`."""

CANCELLED: Final = "cancelled"

PROTOCOLS: Final = {
    "http": {"network_transport": "tcp", "network_protocol_name": "http"},
    "websocket": {"network_transport": "tcp", "network_protocol_name": "websocket"},
    "stdio": {"network_transport": "pipe", "network_protocol_name": ""},
    OTHER: {"network_transport": OTHER, "network_protocol_name": OTHER},
}
"""What OpenTelemetry's conventions call our transports."""

_CALL: Final = "tools/call"
_REVISIONS: Final = frozenset(SUPPORTED_REVISIONS)


class Operation(NamedTuple):
    """What tells the requests of one series apart; everything is of a closed set.

    `error` is empty for a success, `tool_error` for a result with `isError`, `cancelled`, or a
    JSON-RPC error code. `tool` is empty but for `tools/call`.
    """

    method: str
    tool: str
    error: str
    version: str
    transport: str


class Session(NamedTuple):
    """What tells sessions apart."""

    version: str
    transport: str


class OperationFigures:
    """A `RequestObserver` that counts.

    Args:
        calls: Is told how long the answers to each principal were.
        methods: The names of all methods; every other one is `_other`.
        timed: Whether it keeps how long requests take.
    """

    def __init__(
        self, calls: CallFigures, methods: Collection[str] = (), *, timed: bool = True
    ) -> None:
        self._calls = calls
        self._methods = frozenset(methods)
        self._timed = timed
        self._names: frozenset[str] = frozenset()
        self.operations: dict[Operation, Histogram] = {}
        self.sessions: dict[Session, Histogram] = {}
        self.open_sessions: dict[Session, int] = {}

    def know(self, names: Collection[str], methods: Collection[str] | None = None) -> None:
        """Says which tools there are; what was counted of others becomes `_other`."""
        self._names = frozenset(names)
        if methods is not None:
            self._methods = frozenset(methods)
        for key in [each for each in self.operations if self._label(each.tool) != each.tool]:
            kept = self.operations.setdefault(key._replace(tool=OTHER), Histogram())
            kept.merge(self.operations.pop(key))

    def forget(self) -> None:
        """Begins to count anew; what is open stays open."""
        self.operations.clear()
        self.sessions.clear()

    def answered(
        self, request: Request, context: Context, seconds: float, reply: Reply | None
    ) -> None:
        """See `RequestObserver.answered`."""
        method = request.method
        tool: Any = ""
        if method == _CALL:
            tool = request.params.get("name")
            if type(tool) is not str or tool not in self._names:
                tool = OTHER
        elif method not in self._methods:
            method = OTHER
        version = _version(request.params, context)
        if reply is None:
            error = CANCELLED
        elif reply.error_code is None:
            error = TOOL_ERROR if reply.is_error else ""
        else:
            error = str(reply.error_code)
        key = (method, tool, error, version, _transport(context))
        histogram = self.operations.get(key)  # type: ignore[call-overload]
        if histogram is None:
            histogram = self.operations.setdefault(Operation(*key), Histogram())
        if self._timed:
            histogram.add(bisect_left(BOUNDS, seconds), seconds)
        else:
            histogram.count += 1
        if reply is not None:
            self._calls.sent(context.principal.subject, reply.body)
            if method == "initialize" and reply.error_code is None:
                self._open(context)

    def _open(self, context: Context) -> None:
        connection = context.connection
        if connection is None:
            return
        session = Session(connection.version or OTHER, _transport(context))
        self.open_sessions[session] = self.open_sessions.get(session, 0) + 1
        connection.lifetime.on_end(partial(self._close, session, time.monotonic()))

    def _close(self, session: Session, began: float) -> None:
        self.open_sessions[session] -= 1
        seconds = time.monotonic() - began
        histogram = self.sessions.setdefault(session, Histogram())
        histogram.add(bisect_left(BOUNDS, seconds), seconds)

    def _label(self, tool: str) -> str:
        return tool if not tool or tool in self._names else OTHER


def _transport(context: Context) -> str:
    return context.transport if context.transport in PROTOCOLS else OTHER


def _version(params: dict[str, Any], context: Context) -> str:
    """The revision that a request follows; empty where nothing says it."""
    meta = params.get("_meta")
    version = meta.get(META_PROTOCOL_VERSION) if isinstance(meta, dict) else None
    if version is None and context.connection is not None:
        version = context.connection.version
    if version is None and context.headers is not None:
        version = context.headers.version
    if version is None:
        return ""
    return version if type(version) is str and version in _REVISIONS else OTHER
