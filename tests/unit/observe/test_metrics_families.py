from __future__ import annotations

import json

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kailash_mcp_prod.observe.metrics_export import encode, from_registry
from kailash_mcp_prod.observe.metrics_families import Family, Sample, lasting, merged
from kailash_mcp_prod.observe.metrics_snapshot import Figures
from tests.prometheus_lint import complaints, parse, value


def family(name: str, kind: str, merge: str, *values: tuple[float, dict[str, str]]) -> Family:
    made = Family(name, kind, "Help.", merge=merge)  # type: ignore[arg-type]
    for number, labels in values:
        made.add(number, labels)
    return made


def test_counters_and_gauges_of_workers_become_one() -> None:
    def of(worker: int) -> list[Family]:
        return [
            family("calls", "counter", "sum", (worker, {"tool": "a"})),
            family("running", "gauge", "sum", (worker, {})),
            family("state", "gauge", "max", (worker, {})),
            family("memory", "gauge", "each", (worker, {"pid": str(worker)})),
            family("sessions", "gauge", "here", (worker, {})),
        ]

    found = merged(of(1), [of(2), [family("calls", "counter", "sum", (4, {"tool": "b"}))]])
    assert {name: each.samples for name, each in found.items()} == {
        "calls": [
            Sample("calls_total", {"tool": "a"}, 3),
            Sample("calls_total", {"tool": "b"}, 4),
        ],
        "running": [Sample("running", {}, 3)],
        "state": [Sample("state", {}, 2)],
        "memory": [Sample("memory", {"pid": "1"}, 1), Sample("memory", {"pid": "2"}, 2)],
        "sessions": [Sample("sessions", {}, 1)],
    }


def test_a_family_that_is_of_another_kind_elsewhere_is_left_out() -> None:
    found = merged(
        [family("calls", "counter", "sum", (1, {}))], [[family("calls", "gauge", "sum", (9, {}))]]
    )
    assert found["calls"].samples == [Sample("calls_total", {}, 1)]


def test_gauges_and_what_belongs_to_a_process_do_not_outlast_it() -> None:
    kept = lasting(
        [
            family("calls", "counter", "sum"),
            family("cpu", "counter", "each"),
            family("running", "gauge", "sum"),
        ]
    )
    assert [each.name for each in kept] == ["calls"]


def test_metrics_of_the_library_are_taken_over() -> None:
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders placed.", ["country"], registry=registry).labels("DE").inc(2)
    Gauge("shop_open", "Orders that are open.", registry=registry).set(3)
    Histogram("shop_seconds", "Time.", buckets=[1], registry=registry).observe(0.5)
    figures = Figures()
    figures.families = {each.name: each for each in from_registry(registry, {"pid": "7"})}
    body, content_type = encode(figures, "", timed=True)
    families = parse(body.decode())
    assert content_type.startswith("text/plain")
    assert value(families, "shop_orders_total", country="DE") == 2
    assert value(families, "shop_open", pid="7") == 3
    assert value(families, "shop_seconds_bucket", le="1.0") == 1
    assert value(families, "shop_seconds_count") == 1


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain;version=0.0.4,application/json", "text/plain"),
        ("application/json", "application/json"),
        ("text/html, Application/JSON;q=0.9", "application/json"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_client_chooses_the_form(accept: str, expected: str) -> None:
    body, content_type = encode(Figures(), accept, timed=True)
    assert content_type.startswith(expected)
    if expected == "application/json":
        assert {"mcp_tool_calls", "mcp_server_workers"} <= {
            each["name"] for each in json.loads(body)["metrics"]
        }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n", "only counters end with"),
        ("# HELP a Help.\n# TYPE a counter\na 1\n", "only counters end with"),
        ("# HELP a_ms Help.\n# TYPE a_ms gauge\na_ms 1\n", "is not in a base unit"),
        ("# HELP a \n# TYPE a gauge\na 1\n", "has no help"),
        ("# HELP a Help.\n# TYPE a gauge\na 1\na 2\n", "comes twice"),
        ("# HELP a Help.\n# TYPE a gauge\nb 1\n", "is not below"),
        ("# HELP a Help.\n# TYPE a gauge\na 1", "has no end"),
        (
            '# HELP a Help.\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 2\na_sum 1\n',
            "the last bucket is not the count",
        ),
    ],
)
def test_the_lint_finds_what_is_wrong(text: str, problem: str) -> None:
    assert [each for each in complaints(text) if problem in each]
