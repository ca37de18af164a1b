"""What becomes of the trace that a client names, and of a server without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kailash_mcp_prod import ServerConfig
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.observe.traces import Traces
from kailash_mcp_prod.observe.traces_requests import parent_of
from kailash_mcp_prod.observing import configured_traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_the_trace_of_a_client_is_gone_on_with() -> None:
    context = parent_of(
        {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=x", "baggage": "a=b"}
    )
    found = trace.get_current_span(context).get_span_context()
    assert (found.trace_id, found.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert found.trace_state.get("vendor") == "x"


@pytest.mark.parametrize(
    "named",
    [
        "",
        "no trace",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01" + "-" * 1000,
        7,
        None,
        [f"00-{TRACE}-{PARENT}-01"],
    ],
)
def test_what_is_not_as_the_standard_says_begins_a_new_one(named: object) -> None:
    context = parent_of({"traceparent": named, "tracestate": 7})
    assert not trace.get_current_span(context).get_span_context().is_valid


def test_a_client_does_not_decide_what_is_kept() -> None:
    kept = InMemorySpanExporter()
    traces = Traces(kept, ratio=0.0)
    parent = parent_of({"traceparent": f"00-{TRACE}-{PARENT}-01"})
    traces._tracer.start_span("request", context=parent).end()
    traces._provider.force_flush()
    assert kept.get_finished_spans() == ()


def test_without_opentelemetry_the_server_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "kailash_mcp_prod.observe.traces_export", None)
    with pytest.raises(StartupError, match=r"Install kailash-mcp-prod\[otel\]"):
        configured_traces(ServerConfig(enable_tracing=True, enable_auth=False))


def test_nothing_is_imported_while_traces_are_off() -> None:
    program = (
        "import sys\n"
        "from kailash_mcp_prod import ProductionMCPServer, ServerConfig\n"
        "server = ProductionMCPServer(ServerConfig(enable_auth=False))\n"
        "assert server._traces is None and server._dispatcher._tracer is None\n"
        "found = [name for name in sys.modules if '.traces' in name or 'opentelemetry' in name]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
