"""Known traffic on every way in, and exactly its numbers in every way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dataflow import DataFlow
from jsonschema import Draft202012Validator
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from kailash_mcp_prod import ProductionMCPServer, ServerConfig, ServerError
from kailash_mcp_prod.background import BackgroundLoop
from tests.e2e.exchanges import LegacyHttp, ModernHttp
from tests.prometheus_lint import parse, value
from tests.wire_schema import LEGACY, MODERN

ADMIN, READER, OUTSIDER = "admin-key", "reader-key", "outsider-key"
KEYS = {
    ADMIN: {"agent_id": "admin", "permissions": ["*"]},
    READER: {"agent_id": "reader", "permissions": ["Company:read", "monitor:read"]},
    OUTSIDER: {"agent_id": "outsider", "permissions": ["Company:read"]},
}
TOOL = "gen_ai_tool_name"


def application(url: str) -> Any:
    """Companies and shelves in a database."""
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)

    @db.model
    class Company:
        """A company."""

        id: str
        name: str
        city: str | None = None

    @db.model
    class Shelf:
        """A shelf."""

        id: str
        width: int = 0

    return db


class Running:
    """A server in this process, and a loop to call it from."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.server = ProductionMCPServer(
            ServerConfig(
                port=0,
                transport="all",
                api_keys=KEYS,
                log_level="ERROR",
                **settings,
            ),
            dataflow=application(f"sqlite:///{folder / 'app.db'}"),
        )
        self._loop = BackgroundLoop("caller")

    def __enter__(self) -> Running:
        self.server.start_mcp_server_async()
        return self

    def __exit__(self, *_failure: object) -> None:
        self.server.stop_mcp_server()
        self._loop.close()

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self._loop.run(self.server.mcp_server.call_tool(tool, arguments))

    def rest(self, key: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.Client(base_url=self.server.rest_url or "", headers=headers, trust_env=False)

    def scrape(self) -> dict[str, Any]:
        with self.rest(ADMIN) as rest:
            answer = rest.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return parse(answer.text)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, enable_caching=True) as running:
        yield running


def sent_to(channel: Any, message: dict[str, Any]) -> str:
    channel.send(json.dumps(message))
    return str(channel.recv())


def test_known_traffic_is_found_exactly(running: Running) -> None:
    characters = {"admin": 0, "reader": 0}
    url = str(running.server.mcp_url)

    # In process: two records, three at once, and a step of a workflow that stores another.
    first = running.call("Company_create", data={"name": "One"})["id"]
    second = running.call("Company_create", data={"name": "Two"})["id"]
    running.call("Company_bulk_create", data=[{"name": f"Bulk {n}"} for n in range(3)])
    session = running.call("create_agent_workflow_session", workflow_type="known")
    step = {
        "type": "dataflow_operation",
        "model": "Company",
        "operation": "create",
        "parameters": {"data": {"name": "Step"}},
    }
    running.call(
        "execute_workflow_step",
        workflow_session_id=session["workflow_session_id"],
        step_name="make",
        step_config=step,
    )

    # The newer MCP over HTTP: three reads, of which the cache answers two, a list of six, and a
    # tool that the reader may not call.
    with ModernHttp(url, {"x-api-key": READER}) as modern:
        for _ in range(3):
            answer = modern.request("tools/call", name="Company_read", arguments={"id": first})
            characters["reader"] += len(
                json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
            )
        answer = modern.request("tools/call", name="Company_list", arguments={})
        characters["reader"] += len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False))
        assert answer["result"]["structuredContent"]["count"] == 6
        answer = modern.request("tools/call", name="Company_delete", arguments={"id": first})
        characters["reader"] += len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False))
        assert answer["error"]["code"] == -32602

    # The older MCP over HTTP: a session with a change and a deletion, that ends.
    with LegacyHttp(url, {"x-api-key": ADMIN}) as legacy:
        for tool, arguments in (
            ("Company_update", {"id": first, "data": {"city": "Kiel"}}),
            ("Company_delete", {"id": second}),
        ):
            answer = legacy.request("tools/call", name=tool, arguments=arguments)
            assert answer["result"]["isError"] is False
        assert value(running.scrape(), "mcp_server_sessions_open") == 1
        legacy.end()

    # WebSocket: a read, a call that is wrong, and one of a tool that is nowhere.
    headers = {"X-API-Key": ADMIN}
    with connect(
        str(running.server.ws_url), subprotocols=[Subprotocol("mcp")], additional_headers=headers
    ) as channel:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        for number, (tool, arguments) in enumerate(
            [("Company_read", {"id": first}), ("Company_read", {"nr": 1}), ("Nowhere_read", {})]
        ):
            params = {"name": tool, "arguments": arguments, "_meta": meta}
            sent_to(
                channel,
                {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params},
            )
        open_now = running.scrape()
        assert value(open_now, "mcp_server_channels_open", kind="websocket") == 1

    # REST: two reads, one of a record that is gone, and a stranger.
    with running.rest(READER) as rest:
        for key, status in ((first, 200), (first, 200), (second, 404)):
            answer_ = rest.post("/tools/Company_read", json={"id": key})
            assert answer_.status_code == status
            characters["reader"] += len(answer_.text)
    with running.rest() as stranger:
        assert stranger.post("/tools/Company_read", json={"id": first}).status_code == 401

    expected = {
        ("Company_create", "ok", "false"): 2,
        ("Company_bulk_create", "ok", "false"): 1,
        ("create_agent_workflow_session", "ok", "false"): 1,
        ("execute_workflow_step", "ok", "false"): 1,
        ("Company_create", "ok", "true"): 1,
        ("Company_read", "ok", "false"): 6,
        ("Company_list", "ok", "false"): 1,
        ("Company_delete", "not_found", "false"): 1,
        ("Company_update", "ok", "false"): 1,
        ("Company_delete", "ok", "false"): 1,
        ("Company_read", "invalid_arguments", "false"): 1,
        ("_other", "not_found", "false"): 1,
        ("Company_read", "not_found", "false"): 1,
    }
    families = running.scrape()
    counted = {
        (each.labels[TOOL], each.labels["outcome"], each.labels["part"]): each.value
        for each in families["mcp_tool_calls"].samples
    }
    assert counted == expected
    whole = sum(count for (_, _, part), count in expected.items() if part == "false")
    durations = "mcp_tool_call_duration_seconds_count"
    assert value(families, durations, part="false") == whole
    assert value(families, durations, part="true") == 1

    assert value(families, "mcp_rows_read_total", **{TOOL: "Company_read"}) == 6
    assert value(families, "mcp_rows_read_total", **{TOOL: "Company_list"}) == 6
    written = {each.labels[TOOL]: each.value for each in families["mcp_rows_written"].samples}
    assert written == {
        "Company_create": 3,
        "Company_bulk_create": 3,
        "Company_update": 1,
        "Company_delete": 1,
    }

    def operations(**labels: str) -> float:
        counts = value(families, "mcp_server_operations_total", **labels)
        assert counts == value(families, "mcp_server_operation_duration_seconds_count", **labels)
        return counts

    modern_http = {"mcp_protocol_version": MODERN, "network_protocol_name": "http"}
    calls = {"mcp_method_name": "tools/call", "gen_ai_operation_name": "execute_tool"}
    assert operations(**modern_http, **calls, **{TOOL: "Company_read"}, error_type="") == 3
    assert operations(**modern_http, **calls, **{TOOL: "Company_delete"}, error_type="-32602") == 1
    assert operations(**modern_http) == 5
    assert operations(mcp_protocol_version=LEGACY, mcp_method_name="initialize") == 1
    assert operations(mcp_protocol_version=LEGACY, **calls) == 2
    assert operations(network_protocol_name="websocket", error_type="tool_error") == 1
    assert operations(network_protocol_name="websocket", **{TOOL: "_other"}) == 1
    assert operations() == 5 + 3 + 3
    ended = "mcp_server_session_duration_seconds_count"
    assert value(families, ended, mcp_protocol_version=LEGACY, network_transport="tcp") == 1
    assert value(families, "mcp_server_sessions_open") == 0

    reads = {each.labels["result"]: each.value for each in families["mcp_cache_reads"].samples}
    cached = value(families, "mcp_tool_calls_cached_total")
    assert cached == reads["hits"] + reads["shared"]
    # Those of the reader: two of three reads before the change, one of two after it.
    assert reads["hits"] == 3
    assert value(families, "mcp_workflow_sessions", status="active") == 1
    assert value(families, "mcp_server_tools") == len(running.server.registry)
    assert value(families, "process_resident_memory_bytes") > 2**20

    metrics = running.call("get_server_metrics")
    server = metrics["server_metrics"]
    assert server["total_requests"] == whole
    assert server["failed_requests"] == 4
    assert server["error_rate_percent"] == round(100 * 4 / whole, 3)
    assert server["server_error_rate_percent"] == 0
    assert (server["rows_read"], server["rows_written"]) == (12, 8)
    assert server["cache_hit_ratio"] == round(3 / sum(reads.values()), 6)
    assert (server["concurrent_requests"], server["waiting_requests"]) == (1, 0)
    assert 0 < server["average_response_time_ms"] < 10_000
    assert metrics["session_analytics"]["workflow_sessions"] == {"active": 1}
    agents = {each["agent"]: each for each in metrics["agents"]}
    figures = ("calls", "errors", "rows_read", "rows_written")
    assert {name: tuple(each[key] for key in figures) for name, each in agents.items()} == {
        "local": (5, 0, 0, 6),
        "key:reader": (8, 2, 11, 0),
        "key:admin": (5, 2, 1, 2),
    }
    assert agents["local"]["tokens_sent"] == 0
    assert agents["key:reader"]["tokens_sent"] == characters["reader"] // 4
    assert value(families, "mcp_agent_tokens_sent_total", agent="key:reader") == (
        characters["reader"] // 4
    )

    integration = running.call("get_integration_metrics")["integration_metrics"]
    assert integration["nexus"] == {"status": "not_mounted"}
    assert integration["dataflow"]["models"] == 2
    company = integration["dataflow"]["by_model"]["Company"]
    assert (company["calls"], company["errors"], company["from_cache"]) == (16, 3, 3)
    assert (company["rows_read"], company["rows_written"]) == (12, 8)
    for tool, result in (
        ("get_server_metrics", metrics),
        ("get_integration_metrics", {"integration_metrics": integration}),
    ):
        described = running.server.registry.get(tool)
        assert described is not None
        Draft202012Validator(described.output_schema).validate(result)


def test_the_metrics_come_in_three_forms_to_those_who_may_read_them(running: Running) -> None:
    running.call("Company_create", data={"name": "One"})
    openmetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    with running.rest(READER) as reader:
        plain = reader.get("/metrics")
        exact = reader.get("/metrics", headers={"Accept": openmetrics})
        as_json = reader.get("/metrics", headers={"Accept": "application/json"})
    with running.rest(OUTSIDER) as outsider:
        refused = outsider.get("/metrics")
    with running.rest() as stranger:
        unknown = stranger.get("/metrics")

    assert value(parse(plain.text), "mcp_tool_calls_total") == 1
    assert exact.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert exact.text.endswith("# EOF\n")
    assert as_json.headers["content-type"] == "application/json"
    by_name = {family["name"]: family for family in as_json.json()["metrics"]}
    assert by_name["mcp_tool_calls"]["samples"] == [
        {
            "name": "mcp_tool_calls_total",
            "labels": {TOOL: "Company_create", "outcome": "ok", "part": "false"},
            "value": 1.0,
        }
    ]
    assert refused.status_code == 403
    assert refused.json()["error"]["details"] == {"required_scopes": ["monitor:read"]}
    assert unknown.status_code == 401


def test_an_agent_sees_itself_and_an_operator_sees_all(running: Running) -> None:
    with running.rest(READER) as reader, running.rest(ADMIN) as admin:
        for rest in (reader, admin):
            rest.post("/tools/Company_list", json={})
        own = reader.post("/tools/get_server_metrics", json={}).json()
        every = admin.post("/tools/get_server_metrics", json={}).json()
        models = reader.post("/tools/get_integration_metrics", json={}).json()
    assert [each["agent"] for each in own["agents"]] == ["key:reader"]
    assert {each["agent"] for each in every["agents"]} == {"key:reader", "key:admin"}
    assert {each["tool"] for each in own["tools"]} == {"Company_list"}
    assert models["integration_metrics"]["dataflow"]["models"] == 1


def test_without_metrics_nothing_is_counted_and_the_answer_names_the_setting(
    tmp_path: Path,
) -> None:
    with Running(tmp_path, enable_metrics=False) as running, running.rest(ADMIN) as rest:
        running.call("Company_create", data={"name": "One"})
        answer = rest.get("/metrics")
        names = [tool["name"] for tool in rest.get("/tools").json()["tools"]]
        monitor = running.server.monitoring.monitor
        assert monitor.calls.cells == {}
        assert monitor.operations.operations == {}
    assert answer.status_code == 404
    assert answer.json()["error"]["details"] == {"setting": "enable_metrics"}
    assert "enable_metrics" in answer.json()["error"]["message"]
    assert "get_server_metrics" not in names
    assert "get_available_tools" in names


def test_without_tracking_calls_are_counted_and_not_timed(tmp_path: Path) -> None:
    settings = {"enable_performance_tracking": False, "enable_agent_analytics": False}
    with Running(tmp_path, **settings) as running:
        running.call("Company_create", data={"name": "One"})
        families = running.scrape()
        metrics = running.call("get_server_metrics")
        with pytest.raises(ServerError):
            running.call("get_server_metrics", agents=-1)
    assert value(families, "mcp_tool_calls_total") == 1
    assert not [name for name in families if name.endswith("operation_duration_seconds")]
    assert families["mcp_agent_calls"].samples == []
    assert metrics["server_metrics"]["total_requests"] == 1
    assert metrics["server_metrics"]["average_response_time_ms"] is None
    assert "agents" not in metrics


def test_the_history_has_an_entry_for_each_interval(tmp_path: Path) -> None:
    with Running(tmp_path, metrics_collection_interval=3600) as running:
        loop = running.server.mcp_server.loop
        assert loop is not None

        def sample() -> None:
            import asyncio

            monitor = running.server.monitoring.monitor
            asyncio.run_coroutine_threadsafe(monitor.sample(), loop).result(timeout=10)

        for count in (2, 0, 3):
            for _ in range(count):
                running.call("Company_list")
            sample()
        history = running.call("get_server_metrics")["history"]
        last = running.call("get_server_metrics", history=1)["history"]
    # The tool that asks is counted too, once it is over.
    assert [each["requests"] for each in history] == [2, 0, 3]
    assert [each["average_response_time_ms"] is None for each in history] == [False, True, False]
    assert last == history[-1:]


def test_available_tools_are_those_that_the_caller_may_call(running: Running) -> None:
    with running.rest(OUTSIDER) as outsider:
        own = outsider.post("/tools/get_available_tools", json={}).json()
        some = outsider.post(
            "/tools/get_available_tools", json={"group": "Company", "query": "company LIST"}
        ).json()
        few = outsider.post("/tools/get_available_tools", json={"limit": 1}).json()
        wrong = outsider.post("/tools/get_available_tools", json={"limit": 0}).json()
        listed = outsider.get("/tools").json()["tools"]
    assert [tool["name"] for tool in own["tools"]] == [tool["name"] for tool in listed]
    assert [tool["name"] for tool in some["tools"]] == ["Company_list"]
    assert some["tools"][0]["permissions"] == ["Company:list"]
    assert (len(few["tools"]), few["count"]) == (1, own["count"])
    assert wrong["error"]["field"] == "limit"
    described = running.server.registry.get("get_available_tools")
    assert described is not None
    Draft202012Validator(described.output_schema).validate(own)


def test_the_surface_compact_reaches_them_through_one_tool(running: Running) -> None:
    with running.rest(READER) as reader:
        tools = reader.get("/tools?surface=compact").json()["tools"]
        [monitor] = [tool for tool in tools if tool["name"] == "monitor"]
        found = reader.post(
            "/tools/monitor?surface=compact", json={"action": "metrics", "arguments": {"tools": 0}}
        ).json()
    assert {"metrics", "integrations", "tools"} <= set(
        monitor["inputSchema"]["properties"]["action"]["enum"]
    )
    assert found["tools"] == []
    assert found["server_metrics"]["total_requests"] == 0
