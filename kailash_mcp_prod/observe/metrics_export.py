"""The figures as Prometheus reads them, as OpenMetrics, and as JSON.

Made in a thread, because some thousand lines take longer than the event loop may wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

from kailash_mcp_prod.observe.metrics_calls import Agent
from kailash_mcp_prod.observe.metrics_families import ADDED, Family, Sample
from kailash_mcp_prod.observe.metrics_histogram import Histogram
from kailash_mcp_prod.observe.metrics_operations import PROTOCOLS, TOOL_ERROR
from kailash_mcp_prod.observe.metrics_snapshot import Figures

CHARACTERS_PER_TOKEN: Final = 4
JSON_TYPE: Final = "application/json"

_TOOL: Final = "gen_ai_tool_name"
_NOT_CODES: Final = ("", TOOL_ERROR, "cancelled")


class _Exported:
    """Families, as the library's encoders want them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind, family.unit)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric


def encode(figures: Figures, accept: str, *, timed: bool) -> tuple[bytes, str]:
    """The body and its content type.

    Args:
        figures: What is exported.
        accept: The header `Accept`.
        timed: Whether there are durations.
    """
    families = list(all_families(figures, timed=timed))
    if _wants_json(accept):
        return _as_json(families), JSON_TYPE
    encoder, content_type = choose_encoder(accept)
    body: bytes = encoder(_Exported(families))
    return body, content_type


def all_families(figures: Figures, *, timed: bool) -> Iterator[Family]:
    """Every family, also those that nothing has happened in yet."""
    if timed:
        yield _operations(figures)
    yield _operation_counts(figures)
    yield _sessions(figures)
    yield from _calls(figures, timed=timed)
    yield from _rows(figures)
    yield from _agents(figures.agents)
    workers = Family("mcp_server_workers", "gauge", "Processes whose figures these are.")
    workers.add(figures.workers)
    yield workers
    yield from figures.families.values()


def from_registry(registry: CollectorRegistry, labels: Mapping[str, str]) -> Iterator[Family]:
    """What was registered with Prometheus's own library.

    Args:
        registry: Where.
        labels: Added to gauges, so that those of several workers can be told apart.
    """
    for metric in registry.collect():
        kind: Any = metric.type
        added = kind in ADDED
        own = {} if added else labels
        family = Family(
            metric.name, kind, metric.documentation, metric.unit, "sum" if added else "each"
        )
        family.samples = [
            Sample(sample.name, {**sample.labels, **own}, sample.value)
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]
        yield family


def _wants_json(accept: str) -> bool:
    """Whether the client names JSON before any form of Prometheus."""
    for each in accept.split(","):
        kind = each.partition(";")[0].strip().lower()
        if kind == JSON_TYPE:
            return True
        if kind in {"text/plain", "application/openmetrics-text"}:
            return False
    return False


def _as_json(families: Iterable[Family]) -> bytes:
    shown: list[dict[str, Any]] = [
        {
            "name": family.name,
            "type": family.kind,
            "help": family.help,
            "unit": family.unit,
            "samples": [
                {"name": each.name, "labels": each.labels, "value": each.value}
                for each in family.samples
            ],
        }
        for family in families
    ]
    return msgspec.json.encode({"metrics": shown})


def _add(family: Family, histogram: Histogram, labels: Mapping[str, str]) -> None:
    name = family.name
    for bound, count in histogram.exported():
        family.samples.append(Sample(f"{name}_bucket", {**labels, "le": repr(bound)}, count))
    family.samples += (
        Sample(f"{name}_bucket", {**labels, "le": "+Inf"}, histogram.count),
        Sample(f"{name}_count", dict(labels), histogram.count),
        Sample(f"{name}_sum", dict(labels), histogram.total),
    )


def _operation_labels(figures: Figures) -> Iterator[tuple[dict[str, str], Histogram]]:
    for operation, histogram in figures.operations.items():
        is_code = operation.error not in _NOT_CODES
        yield (
            {
                "mcp_method_name": operation.method,
                "gen_ai_operation_name": "execute_tool" if operation.tool else "",
                _TOOL: operation.tool,
                "error_type": operation.error,
                "rpc_response_status_code": operation.error if is_code else "",
                "mcp_protocol_version": operation.version,
                **PROTOCOLS[operation.transport],
            },
            histogram,
        )


def _operations(figures: Figures) -> Family:
    family = Family(
        "mcp_server_operation_duration_seconds",
        "histogram",
        "How long requests of MCP took (mcp.server.operation.duration).",
        "seconds",
    )
    for labels, histogram in _operation_labels(figures):
        _add(family, histogram, labels)
    return family


def _operation_counts(figures: Figures) -> Family:
    family = Family("mcp_server_operations", "counter", "Requests of MCP.")
    for labels, histogram in _operation_labels(figures):
        family.add(histogram.count, labels)
    return family


def _sessions(figures: Figures) -> Family:
    family = Family(
        "mcp_server_session_duration_seconds",
        "histogram",
        "How long sessions of MCP lasted that are over (mcp.server.session.duration).",
        "seconds",
    )
    for session, histogram in figures.sessions.items():
        labels = {"mcp_protocol_version": session.version, **PROTOCOLS[session.transport]}
        _add(family, histogram, labels)
    return family


def _calls(figures: Figures, *, timed: bool) -> Iterator[Family]:
    calls = Family(
        "mcp_tool_calls", "counter", "Calls of tools, on whatever way they came, by outcome."
    )
    cached = Family("mcp_tool_calls_cached", "counter", "Calls that the cache has answered.")
    slow = Family("mcp_tool_calls_slow", "counter", "Calls that took slow_request_ms or longer.")
    times: dict[tuple[str, bool], Histogram] = {}
    of_tool: dict[str, list[int]] = {}
    for (tool, outcome, is_part), cell in figures.cells.items():
        part = "true" if is_part else "false"
        calls.add(cell.count, {_TOOL: tool, "outcome": outcome, "part": part})
        both = of_tool.setdefault(tool, [0, 0])
        both[0] += cell.cached
        both[1] += cell.slow
        times.setdefault((tool, is_part), Histogram()).merge(cell.times)
    for tool, (from_cache, were_slow) in of_tool.items():
        cached.add(from_cache, {_TOOL: tool})
        slow.add(were_slow, {_TOOL: tool})
    yield from (calls, cached)
    if not timed:
        return
    yield slow
    family = Family(
        "mcp_tool_call_duration_seconds",
        "histogram",
        "How long calls of tools took, on whatever way they came.",
        "seconds",
    )
    for (tool, is_part), histogram in times.items():
        _add(family, histogram, {_TOOL: tool, "part": "true" if is_part else "false"})
    yield family


def _rows(figures: Figures) -> Iterator[Family]:
    read = Family("mcp_rows_read", "counter", "Records in the answers of tools.")
    written = Family("mcp_rows_written", "counter", "Records stored, changed or deleted.")
    for tool, rows in figures.rows.items():
        if rows.read:
            read.add(rows.read, {_TOOL: tool})
        if rows.written:
            written.add(rows.written, {_TOOL: tool})
    yield from (read, written)
    tokens = Family("mcp_tokens_sent", "counter", "Characters of all answers, divided by four.")
    tokens.add(figures.characters // CHARACTERS_PER_TOKEN)
    yield tokens


_OF_AGENT: Final[tuple[tuple[str, str, Callable[[Agent], int]], ...]] = (
    ("mcp_agent_calls", "Calls of an agent.", lambda each: each.calls),
    ("mcp_agent_errors", "Calls of it that failed.", lambda each: each.errors),
    ("mcp_agent_rows_read", "Records in its answers.", lambda each: each.rows.read),
    ("mcp_agent_rows_written", "Records that it has changed.", lambda each: each.rows.written),
    (
        "mcp_agent_tokens_sent",
        "Characters of its answers, divided by four.",
        lambda each: each.characters // CHARACTERS_PER_TOKEN,
    ),
)


def _agents(agents: Mapping[str, Agent]) -> Iterator[Family]:
    for name, text, value_of in _OF_AGENT:
        family = Family(name, "counter", text)
        for subject, agent in agents.items():
            family.add(value_of(agent), {"agent": subject})
        yield family
