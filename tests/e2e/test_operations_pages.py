"""The commands of the pages on metrics, health and logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kailash_mcp_prod import ProductionMCPServer, ServerMetrics
from tests.e2e.servers import ROOT, HttpServer, serving
from tests.e2e.snippets import run_in, snippets

METRICS = ROOT / "docs" / "metrics.md"
OPERATIONS = ROOT / "docs" / "operations.md"


def lines_of(page: Path) -> list[str]:
    return [line for block in snippets(page, "sh") for line in block.strip().splitlines()]


def test_metrics_come_as_text_and_as_json_and_each_is_on_the_page(
    development_server: HttpServer, tmp_path: Path
) -> None:
    text, as_json = (
        run_in(tmp_path, line.replace("http://127.0.0.1:3002", development_server.rest))
        for line in lines_of(METRICS)
    )
    page = METRICS.read_text("utf-8")
    families = list(text_string_to_metric_families(text))
    assert len(families) > 30
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in page
    assert {each["name"] for each in json.loads(as_json)["metrics"]} == {
        each.name for each in families
    }


def test_the_example_of_own_metrics_makes_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_ENABLE_AUTH", "false")
    [example] = snippets(METRICS, "python")
    made: dict[str, object] = {}
    exec(example, made)

    assert isinstance(made["server"], ProductionMCPServer)
    assert isinstance(made["server"].metrics, ServerMetrics)
    assert made["server"].metrics.has_own


def test_the_health_is_asked_as_the_page_says(
    development_server: HttpServer, tmp_path: Path
) -> None:
    commands = [line for line in lines_of(OPERATIONS) if line.startswith("curl")]
    live, ready, full = (
        json.loads(run_in(tmp_path, line.replace("http://127.0.0.1:3002", development_server.rest)))
        for line in commands
    )
    assert live == {"health_status": "healthy"}
    assert {*ready["components"]} == {"server", "database", "state"}
    page = OPERATIONS.read_text("utf-8")
    for name in full["components"]:
        assert name == "server" or f"`{name}`" in page


def test_the_log_file_has_a_line_for_each_call(tmp_path: Path) -> None:
    [command] = [line for line in lines_of(OPERATIONS) if line.startswith("kailash-mcp-prod serve")]
    flags = command.split()[2:]
    with serving(tmp_path, *flags) as server:
        run_in(tmp_path, f"curl -s -X POST {server.rest}/tools/Company_list")
    logged = [json.loads(line) for line in (tmp_path / flags[-1]).read_text("utf-8").splitlines()]
    [call] = [each for each in logged if each["event"] == "call"]

    assert (call["agent"], call["tool"], call["outcome"]) == ("anonymous", "Company_list", "ok")
    assert {"request_id", "duration_ms", "from_cache"} <= call.keys()
