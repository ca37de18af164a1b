"""The command of `docs/traces.md` sends traces."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from kailash_mcp_prod.config import ServerConfig
from tests.collector import collecting
from tests.e2e.servers import ROOT, serving
from tests.e2e.snippets import only, snippets

PAGE = ROOT / "docs" / "traces.md"


def test_the_settings_of_the_page_send_traces(tmp_path: Path) -> None:
    told = only(snippets(PAGE, "sh"), "pip install 'kailash-mcp-prod[otel]'")
    settings = dict(re.findall(r"(MCP_\w+)=(\S+)", told))
    assert set(settings) == {"MCP_ENABLE_TRACING", "MCP_OTLP_ENDPOINT"}
    with collecting() as (collector, endpoint):
        settings["MCP_OTLP_ENDPOINT"] = endpoint
        with serving(tmp_path, "--mode", "development", settings=settings) as server:
            answer = httpx.post(f"{server.rest}/tools/Company_list", json={}, timeout=20)
            assert answer.status_code == 200
            assert server.process.end() == 0
    assert "execute_tool Company_list" in {each["name"] for each in collector.spans}


def test_every_setting_and_name_of_the_page_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "trace_sample_ratio" in text
    assert "trace_sample_ratio" in ServerConfig.model_fields
