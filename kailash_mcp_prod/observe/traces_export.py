"""Where spans go: to a collector over OTLP, in batches, from a thread."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

_NAME: Final = "kailash-mcp-prod"
_LONGEST_VALUE: Final = 4096


class TellingOnce(SpanExporter):
    """An exporter that says once that it does not get through, and once that it does again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans."""
        try:
            result = self._inner.export(spans)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it must not end the thread
            self._tell(reason=type(failure).__name__)
            return SpanExportResult.FAILURE
        self._tell(None if result is SpanExportResult.SUCCESS else "the collector took nothing")
        return result

    def shutdown(self) -> None:
        """Ends it."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what it holds."""
        return self._inner.force_flush(timeout_millis)

    def _tell(self, reason: str | None) -> None:
        if reason is not None and not self._failing:
            log.warning("traces_not_exported", reason=reason)
        elif reason is None and self._failing:
            log.info("traces_exported_again")
        self._failing = reason is not None


def otlp_exporter(endpoint: str | None) -> SpanExporter:
    """Sends to a collector.

    Args:
        endpoint: Its root, such as `http://localhost:4318`; `None` for what the standard variables
            `OTEL_EXPORTER_OTLP_…` say, which may also give headers and a certificate.
    """
    # It logs each batch that it can't send.
    for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    return TellingOnce(OTLPSpanExporter(endpoint=url))


def provider(exporter: SpanExporter, *, ratio: float) -> TracerProvider:
    """Makes tracers whose spans go to an exporter.

    Args:
        exporter: It.
        ratio: Which share of the traces is kept. A client that has begun a trace does not decide
            that for the server.
    """
    kept = TraceIdRatioBased(ratio)
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say the rest.
    own = {SERVICE_VERSION: __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        own[SERVICE_NAME] = _NAME
    made = TracerProvider(
        sampler=ParentBased(kept, remote_parent_sampled=kept),
        resource=Resource.create(own),
        span_limits=SpanLimits(max_span_attribute_length=_LONGEST_VALUE),
        shutdown_on_exit=False,
    )
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made
