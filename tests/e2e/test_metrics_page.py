"""What docs/metrics.md says is done here as written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.observe.metrics_histogram import BUCKETS, EXPORTED
from kailash_mcp_prod.observe.metrics_history import MOST_SAMPLES
from tests.e2e.exchanges import LegacyHttp
from tests.e2e.forked import commands
from tests.e2e.servers import ROOT, HttpServer, environment
from tests.e2e.snippets import run_in, snippets
from tests.prometheus_lint import parse, value

PAGE = ROOT / "docs" / "metrics.md"
TEXT = PAGE.read_text("utf-8")
ROWS = re.findall(r"^\| `((?:mcp|process)_\w+)` \| (.*?) \|", TEXT, re.MULTILINE)
RUNNER = """
import asyncio, json, os, urllib.request
from page import server

async def main():
    async with server:
        for country in ("DE", "DE", None):
            data = {"data": {"name": "A", "country_code": country}}
            await server.mcp_server.call_tool("Company_create", data)
        read = lambda: urllib.request.urlopen(f"{server.rest_url}/metrics").read().decode()
        print(json.dumps(await asyncio.to_thread(read)))

asyncio.run(main())
"""


def test_every_metric_is_on_the_page_with_its_labels(
    development_server: HttpServer, tmp_path: Path
) -> None:
    with LegacyHttp(development_server.mcp) as client:
        made = client.request(
            "tools/call", name="Company_create", arguments={"data": {"name": "A"}}
        )
        key = made["result"]["structuredContent"]["id"]
        client.request("tools/call", name="Company_read", arguments={"id": key})
        client.end()
    url = shlex.quote(f"{development_server.rest}/metrics")
    families = parse(run_in(tmp_path, f"curl -s {url}"))
    exported = {
        f"{name}_total" if family.type == "counter" else name: {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for name, family in families.items()
    }
    told: dict[str, set[str]] = {}
    before: set[str] = set()
    for name, labels in ROWS:
        before = told[name] = (
            before if labels == "the same" else set(re.findall(r"`(\w+)`", labels))
        )
    # The cache is off here; its metrics are those that a test of the whole traffic finds.
    assert set(told) - set(exported) == {name for name in told if name.startswith("mcp_cache_")}
    assert set(exported) <= set(told)
    assert {name: labels for name, labels in exported.items() if labels} == {
        name: told[name] for name, labels in exported.items() if labels
    }


def test_the_tools_have_the_keys_that_the_page_names(
    development_server: HttpServer, tmp_path: Path
) -> None:
    def call(tool: str, arguments: Any) -> Any:
        url = f"{development_server.rest}/tools/{tool}"
        body = shlex.quote(json.dumps(arguments))
        command = f"curl -s {url} -H 'Content-Type: application/json' -d {body}"
        return json.loads(run_in(tmp_path, command))

    call("Company_list", {})
    [arguments] = [json.loads(text) for text in snippets(PAGE, "json")]
    shown = call("get_server_metrics", arguments)
    section = TEXT.partition("## `get_server_metrics`")[2].partition("\n## ")[0]
    for part in ("server_metrics", "session_analytics", "tools", "agents"):
        [words] = re.findall(
            rf"^- `{part}`: (.*?)(?=^- |\Z|\n\n)", section, re.DOTALL | re.MULTILINE
        )
        keys = set(shown[part] if isinstance(shown[part], dict) else shown[part][0])
        missing = {key for key in keys if f"`{key}`" not in words}
        times = {key for key in keys if key.endswith("_response_time_ms")}
        assert missing - (times if "the four" in words else set()) == set()
    found = call("get_integration_metrics", {})["integration_metrics"]
    section = TEXT.partition("## `get_integration_metrics`")[2].partition("\n## ")[0]
    company = found["dataflow"]["by_model"]["Company"]
    for key in (*found, *found["dataflow"], *company):
        assert f"`{key}`" in section
    assert found["nexus"] == {"status": "not_mounted"}


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    assert f"{len(EXPORTED)} of them" in TEXT
    assert f"one of {BUCKETS} buckets" in TEXT
    assert f"of which {MOST_SAMPLES} are kept" in TEXT
    settings = re.findall(r"^\| `(\w+)` \| [A-Z\[]", TEXT, re.MULTILINE)
    assert len(settings) == 6
    assert set(settings) <= set(ServerConfig.model_fields)


def test_the_scrape_configuration_is_yaml() -> None:
    [text] = snippets(PAGE, "yaml")
    configuration = yaml.safe_load(text)
    assert configuration["scrape_configs"][0]["job_name"] == "kailash-mcp-prod"


@pytest.mark.timeout(90)
def test_metrics_of_an_application_are_exported(tmp_path: Path) -> None:
    [example] = snippets(PAGE, "python")
    (tmp_path / "page.py").write_text(example, encoding="utf-8")
    (tmp_path / "runner.py").write_text(RUNNER, encoding="utf-8")
    done = subprocess.run(
        [commands() / "python-file", "runner.py"],
        cwd=tmp_path,
        env=environment(
            DATABASE_URL=f"sqlite:///{tmp_path}/app.db", MCP_PORT="0", MCP_ENABLE_AUTH="0"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    families = parse(json.loads(done.stdout.splitlines()[-1]))
    assert value(families, "shop_companies_total", country="DE") == 2
    assert value(families, "shop_companies_total", country="unknown") == 1
