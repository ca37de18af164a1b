"""The dashboard and the alert rules ask for metrics and labels that are exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.exchanges import LegacyHttp
from tests.e2e.servers import ROOT
from tests.integration.observe.test_metrics import ADMIN, Running

DASHBOARD = json.loads((ROOT / "deploy/grafana/kailash-mcp-prod.json").read_text("utf-8"))
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))
ADAPTER = yaml.safe_load(
    (ROOT / "deploy/kubernetes/components/autoscaling/prometheus-adapter.yaml").read_text("utf-8")
)
OF_THE_SCRAPE = {"job", "instance", "namespace", "pod"}
"""Labels that Prometheus adds by itself."""

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTED = re.compile(r"\b([a-z_]\w*)\b(?!\s*\()(?:\{([^}]*)\})?")
_LABEL = re.compile(r"([a-z_]\w*)\s*(?:=~|!~|!=|=)")
_WORDS = {"and", "or", "unless", "bool", "offset"}

Exported = dict[str, set[str]]


def panels() -> list[dict[str, Any]]:
    return [each for each in DASHBOARD["panels"] if each["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])
            assert inner is not None
            yield variable["name"], inner[1]
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for rule in ADAPTER["rules"]["custom"]:
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
        yield "prometheus-adapter", rule["seriesQuery"]
        yield "prometheus-adapter", query.replace("<<.LabelMatchers>>", 'namespace="mcp"')


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The labels of each exported sample, after something of everything has happened."""
    with (
        Running(tmp_path_factory.mktemp("deploy"), enable_caching=True) as running,
        LegacyHttp(str(running.server.mcp_url), {"x-api-key": ADMIN}) as client,
    ):
        client.request("tools/call", name="Company_create", arguments={"data": {"name": "A"}})
        client.request("tools/call", name="Company_list", arguments={})
        found: Exported = {}
        for family in running.scrape().values():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def wrong_with(expression: str, exported: Exported) -> Iterator[str]:
    plain = re.sub(r'"[^"]*"', '""', expression)
    plain = re.sub(r"\[[^\]]*\]", "", plain)
    grouped = {label.strip() for labels in _GROUPING.findall(plain) for label in labels.split(",")}
    names = set()
    for name, selector in _SELECTED.findall(_GROUPING.sub("", plain)):
        if name in _WORDS or name.isdigit():
            continue
        names.add(name)
        if name not in exported:
            yield f"{name} is not exported"
            continue
        unknown = {*_LABEL.findall(selector), *grouped} - exported[name] - OF_THE_SCRAPE
        if unknown:
            yield f"{name} has no label {sorted(unknown)}"
    if not names:
        yield "it names no metric"
    for opening, closing in ("()", "{}", "[]"):
        if expression.count(opening) != expression.count(closing):
            yield f"{opening} and {closing} do not match"


def test_every_expression_names_what_is_exported(exported: Exported) -> None:
    found = {
        where: problems
        for where, expression in expressions()
        if (problems := list(wrong_with(expression, exported)))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(mcp_tool_call_total[5m])", "mcp_tool_call_total is not exported"),
        ('mcp_pool_waiting{state="idle"}', "mcp_pool_waiting has no label ['state']"),
        ("sum by (tool) (mcp_server_tools)", "mcp_server_tools has no label ['tool']"),
        ("vector(0)", "it names no metric"),
        ("sum(mcp_server_tools", "( and ) do not match"),
    ],
)
def test_the_check_finds_what_is_wrong(exported: Exported, expression: str, problem: str) -> None:
    assert problem in list(wrong_with(expression, exported))


def test_everything_that_is_exported_is_on_the_dashboard_or_in_a_rule(exported: Exported) -> None:
    asked = " ".join(expression for _, expression in expressions())
    left_out = {
        *("mcp_agent_sessions_agents", "mcp_cache_entries", "mcp_cache_evictions_total"),
        *("mcp_cache_stored_bytes", "mcp_concurrency_limit", "mcp_server_tools"),
        *("mcp_server_workers", "mcp_tokens_sent_total", "mcp_tool_calls_cached_total"),
        "process_start_time_seconds",
    }
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    assert {name for name in families if name not in asked} == left_out


def test_the_dashboard_is_whole() -> None:
    rows = [each["title"] for each in DASHBOARD["panels"] if each["type"] == "row"]
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert rows == ["Overview", "Tools", "Agents", "Backends", "Process"]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in panels():
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["legendFormat"] for target in panel["targets"])


def test_every_rule_says_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert len(rule["annotations"]["runbook"]) > 80
        titles = re.findall(r'"([^"]+)"', rule["annotations"]["runbook"])
        assert {*titles} <= {panel["title"] for panel in panels()}


def test_the_files_are_where_the_page_says() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    for path in ("deploy/grafana/kailash-mcp-prod.json", "deploy/prometheus/alerts.yml"):
        assert path in page
        assert Path(ROOT / path).is_file()
