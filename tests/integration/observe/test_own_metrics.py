"""Metrics that an application adds to those of its server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Counter

from kailash_mcp_prod import ProductionMCPServer, ServerConfig, ServerError, ServerMetrics
from kailash_mcp_prod.sessions.counting import SessionCounter
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.call_reports import CallReport
from tests.integration.observe.test_metrics import application
from tests.prometheus_lint import parse, value


class OwnMetrics(ServerMetrics):
    """Counts companies by their city, and breaks on one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.companies = Counter("companies", "Companies.", ["city"], registry=self.registry)

    def call_ended(self, report: CallReport) -> None:
        if report.name == "Company_create" and report.result is not None:
            if report.result["name"] == "Broken":
                raise RuntimeError("a defect of the application")
            self.companies.labels(report.result["city"]).inc()


def server(folder: Path, metrics: ServerMetrics | None = None, **settings: Any) -> Any:
    config = ServerConfig(port=0, enable_auth=False, log_level="ERROR", **settings)
    db = application(f"sqlite:///{folder / 'app.db'}")
    return ProductionMCPServer(config, dataflow=db, metrics=metrics)


async def scraped(running: ProductionMCPServer) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=running.rest_url or "", trust_env=False) as rest:
        return parse((await rest.get("/metrics")).text)


async def test_own_metrics_stand_beside_those_of_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = OwnMetrics()
    async with server(tmp_path, metrics) as running:
        assert running.metrics is metrics
        for name, city in (("A", "Kiel"), ("B", "Kiel"), ("C", "Jena"), ("Broken", "Ulm")):
            data = {"name": name, "city": city}
            await running.mcp_server.call_tool("Company_create", {"data": data})
        with pytest.raises(ServerError):
            await running.mcp_server.call_tool("Company_create", {"data": {}})
        families = await scraped(running)
    assert value(families, "companies_total", city="Kiel") == 2
    assert value(families, "companies_total") == 3
    # A defect of theirs is logged, and changes nothing for who calls.
    assert value(families, "mcp_tool_calls_total", outcome="ok") == 4
    assert "call_watcher_broke" in caplog.text


async def test_two_servers_in_one_process_count_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with server(tmp_path / "a") as one, server(tmp_path / "b") as other:
        await one.mcp_server.call_tool("Company_list")
        assert value(await scraped(one), "mcp_tool_calls_total") == 1
        assert value(await scraped(other), "mcp_tool_calls_total") == 0
        assert one.metrics is not other.metrics


async def test_a_server_that_starts_again_goes_on_counting(tmp_path: Path) -> None:
    made = server(tmp_path)
    for count in (1, 2):
        async with made as running:
            await running.mcp_server.call_tool("Company_list")
            assert value(await scraped(running), "mcp_tool_calls_total") == count


async def test_with_a_directory_the_files_go_on_counting(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    made = server(tmp_path, metrics_directory=shared)
    for count in (1, 2):
        async with made as running:
            await running.mcp_server.call_tool("Company_list")
            assert value(await scraped(running), "mcp_tool_calls_total") == count
    assert len(list(shared.glob("*.json"))) == 2


async def test_a_directory_that_can_not_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    made = server(tmp_path, metrics_directory=tmp_path / "file" / "below")
    with pytest.raises(Exception, match="metrics_directory can't be used"):
        await made.start()


async def test_while_the_database_does_not_answer_the_rest_is_shown(tmp_path: Path) -> None:
    async with server(tmp_path) as running:
        await running.mcp_server.call_tool("create_agent_session")
        before = await running.mcp_server.call_tool("get_server_metrics")
        broken = tmp_path / "broken.db"
        broken.write_text("This is no database." * 100, encoding="utf-8")
        other = State(lambda: f"sqlite:///{broken}")
        running.monitoring.monitor._counter = SessionCounter(other, timeout_seconds=60)
        shown = await running.mcp_server.call_tool("get_server_metrics")
        families = await scraped(running)
        await other.close()
    assert before["session_analytics"]["active_sessions"] == 1
    assert before["session_analytics"]["agents_with_sessions"] == 1
    assert shown["session_analytics"]["active_sessions"] is None
    assert shown["session_analytics"]["workflow_sessions"] is None
    assert shown["server_metrics"]["total_requests"] == 2
    assert "mcp_agent_sessions_active" not in families


async def test_the_database_is_asked_once_a_second_at_most(tmp_path: Path) -> None:
    async with server(tmp_path) as running:
        counter = running.monitoring.monitor._counter
        asked = 0
        ask = counter._ask

        async def counting() -> Any:
            nonlocal asked
            asked += 1
            return await ask()

        counter._ask = counting
        counter.start()
        for _ in range(5):
            await scraped(running)
    assert asked <= 2
