"""OpenTelemetry traces: what a server puts between its parts when `enable_tracing` is on.

Nothing of this module is imported, and nothing stands between the parts, when it is off.

Source: the conventions of OpenTelemetry for MCP, generative AI and databases.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.observe.traces_calls import CallSpans
from kailash_mcp_prod.observe.traces_requests import RequestSpans, RestSpans
from kailash_mcp_prod.observe.traces_sql import TracedDatabase
from kailash_mcp_prod.observe.traces_stages import TracedHandlers, TracedPlaces, TracedReads

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from kailash_mcp_prod.records.sql.database import Database
    from kailash_mcp_prod.tools.application import DataFlowApplication
    from kailash_mcp_prod.tools.service import ToolService
    from kailash_mcp_prod.tools.stages import Handlers, Places, Reads

_FLUSH_SECONDS: Final = 2.0
_MISSING: Final = (
    "enable_tracing needs OpenTelemetry. Install kailash-mcp-prod[otel], or turn it off."
)


def traces_of(config: ServerConfig) -> Traces:
    """The traces that the settings ask for.

    Raises:
        StartupError: OpenTelemetry is not installed.
    """
    try:
        from kailash_mcp_prod.observe.traces_export import otlp_exporter
    except ImportError:
        raise StartupError(_MISSING) from None
    return Traces(otlp_exporter(config.otlp_endpoint), ratio=config.trace_sample_ratio)


class Traces:
    """The spans of one server.

    Args:
        exporter: Gets them, from a thread of its own.
        ratio: Which share of the traces is kept, decided by their ids.
    """

    def __init__(self, exporter: SpanExporter, *, ratio: float = 1.0) -> None:
        from kailash_mcp_prod.observe.traces_export import provider

        self._provider: TracerProvider = provider(exporter, ratio=ratio)
        self._tracer = self._provider.get_tracer("kailash_mcp_prod", __version__)
        self.calls = CallSpans(self._tracer)
        self.requests = RequestSpans(self._tracer)

    def watch(
        self, service: ToolService, application: DataFlowApplication, methods: frozenset[str]
    ) -> None:
        """Makes spans from now on; is to be the last of all who watch the service.

        Args:
            service: Of its calls.
            application: Of what its databases, opened later, are asked.
            methods: The names of the methods of MCP.
        """
        self.requests.methods = methods
        application.wrap_database = self.database
        service.watchers.add(begin=self.calls.begin, end=self.calls.end)

    def places(self, places: Places) -> Places:
        """The places in which calls run, with spans of what comes before and of the wait."""
        return TracedPlaces(places, self._tracer)

    def reads(self, reads: Reads) -> Reads:
        """The cache, with spans that tell whether it had the answer."""
        return TracedReads(reads, self._tracer)

    def handlers(self, handlers: Handlers) -> Handlers:
        """The handlers of tools, with spans of their work."""
        return TracedHandlers(handlers, self._tracer)

    def database(self, database: Database) -> Database:
        """A database, with a span of each statement."""
        return TracedDatabase(database, self._tracer)

    def rest(self, app: Any) -> RestSpans:
        """The application of REST, with a span of each request."""
        return RestSpans(app, self._tracer)

    async def stop(self) -> None:
        """Sends what is left, for two seconds at most; the rest is lost."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(done.set)

        # A daemon, because an exporter that hangs must not hold up the end of the process.
        threading.Thread(target=flush, name="traces-flush", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), _FLUSH_SECONDS)
        except TimeoutError:
            return
