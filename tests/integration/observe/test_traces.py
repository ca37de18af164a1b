"""Traces of a real server, as a collector gets them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.sync.client import connect

from kailash_mcp_prod import ProductionMCPServer
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.observe.traces import Traces
from kailash_mcp_prod.records.sql.database import PoolSettings
from kailash_mcp_prod.records.sql.opening import open_database
from tests.collector import collecting
from tests.e2e.exchanges import BOTH, INITIALIZE, META, request
from tests.integration.observe.dashboards import ADMIN, server_at
from tests.postgres import PostgresServer
from tests.wire_schema import LEGACY, MODERN

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET_NAME = "Only-The-Database-May-Know-This"


def server_with(path: Path, endpoint: str, **settings: Any) -> ProductionMCPServer:
    return server_at(
        path,
        transport="all",
        enable_tracing=True,
        otlp_endpoint=endpoint,
        enable_caching=True,
        **settings,
    )


def over_http(server: ProductionMCPServer, name: str, arguments: Any, **sent: Any) -> Any:
    headers = {"accept": BOTH, "mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
    headers |= {"mcp-name": name, "x-api-key": ADMIN, **sent.get("headers", {})}
    meta = {**META, **sent.get("meta", {})}
    message = request(7, "tools/call", name=name, arguments=arguments, _meta=meta)
    assert server.mcp_url is not None
    return httpx.post(server.mcp_url, json=message, headers=headers, timeout=20).json()


def test_a_request_is_a_tree_of_spans_in_the_trace_of_its_client(tmp_path: Path) -> None:
    with collecting() as (collector, endpoint):
        server = server_with(tmp_path, endpoint)
        server.start_mcp_server_async()
        try:
            header = {"headers": {"traceparent": TRACEPARENT}}
            made = over_http(server, "Company_create", {"data": {"name": SECRET_NAME}}, **header)
            found = {"id": made["result"]["structuredContent"]["id"]}
            meta = {"meta": {"traceparent": f"00-{OTHER}-{PARENT}-01", "tracestate": "a=b"}}
            over_http(server, "Company_read", found, **{**header, **meta})
            over_http(server, "Company_read", found)
            over_http(server, "Company_read", {"id": f"no-{SECRET_NAME}"})
            over_http(server, f"No_{SECRET_NAME}", {}, headers={"traceparent": "00-wrong"})
            rest = f"{server.rest_url}/tools/Company_list"
            sent = {"x-api-key": ADMIN, "traceparent": TRACEPARENT}
            filtered = {"filter": {"name": SECRET_NAME}}
            assert httpx.post(rest, json=filtered, headers=sent).json()["count"] == 1
            legacy(server)
            over_websocket(server)
        finally:
            server.stop_mcp_server()

    assert collector.services == {"kailash-mcp-prod"}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in collector.spans:
        by_name.setdefault(each["name"], []).append(each)

    create, read, again, missing, unknown, old, socket = by_name["tools/call"]
    assert (create["trace"], create["parent"], create["kind"]) == (TRACE, PARENT, 2)
    assert create["at"]["mcp.method.name"] == "tools/call"
    assert create["at"]["mcp.protocol.version"] == MODERN
    assert create["at"]["jsonrpc.request.id"] == "7"
    assert create["at"]["network.transport"] == "tcp"
    assert collector.tree(create["id"]) == [
        [
            "execute_tool Company_create",
            ["policy and limits"],
            ["wait for a place"],
            ["handle create", ["INSERT companies"]],
            # The audit's entry, before the answer goes out.
            ["SELECT"],
        ]
    ]
    # What the message says goes before what the connection says.
    assert read["trace"] == OTHER
    [[call, *stages]] = collector.tree(read["id"])
    assert call == "execute_tool Company_read"
    assert stages[-1] == ["cache", ["handle read", ["SELECT companies"]]]
    [[_, *stages]] = collector.tree(again["id"])
    assert stages[-1] == ["cache"]
    [cached] = [e for e in collector.below(again["id"]) if e["name"] == "cache"]
    assert cached["at"]["kailash_mcp_prod.cache.hit"] is True

    assert missing["error"]
    assert missing["at"]["error.type"] == "tool_error"
    [failed] = [e for e in collector.below(missing["id"]) if e["name"].startswith("execute")]
    assert failed["at"]["error.type"] == "not_found"
    assert unknown["parent"] == ""
    assert [e["name"] for e in collector.below(unknown["id"])] == ["execute_tool _other"]
    [post] = by_name["POST /tools/{name}"]
    assert (post["trace"], post["at"]["http.response.status_code"]) == (TRACE, 200)
    assert [each[0] for each in collector.tree(post["id"])] == ["execute_tool Company_list"]
    assert (old["trace"], old["at"]["mcp.protocol.version"]) == (TRACE, LEGACY)
    assert (socket["trace"], socket["at"]["network.protocol.name"]) == (OTHER, "websocket")

    [insert] = [e for e in collector.below(create["id"]) if e["name"] == "INSERT companies"]
    assert insert["at"]["db.system.name"] == "sqlite"
    assert insert["at"]["db.collection.name"] == "companies"
    assert "INSERT INTO" in insert["at"]["db.query.text"]
    assert SECRET_NAME.encode() not in collector.raw
    assert ADMIN.encode() not in collector.raw
    assert found["id"].encode() not in collector.raw


def legacy(server: ProductionMCPServer) -> None:
    headers = {"accept": BOTH, "x-api-key": ADMIN}
    assert server.mcp_url is not None
    with httpx.Client(headers=headers, timeout=20) as web:
        opened = web.post(server.mcp_url, json=request(1, "initialize", **INITIALIZE))
        web.headers.update(
            {
                "mcp-session-id": opened.headers["mcp-session-id"],
                "mcp-protocol-version": LEGACY,
                "traceparent": TRACEPARENT,
            }
        )
        call = request(2, "tools/call", name="Company_list", arguments={})
        assert "result" in web.post(server.mcp_url, json=call).json()


def over_websocket(server: ProductionMCPServer) -> None:
    meta = {**META, "traceparent": f"00-{OTHER}-{PARENT}-01"}
    call = request(3, "tools/call", name="Company_list", arguments={}, _meta=meta)
    assert server.ws_url is not None
    with connect(
        server.ws_url, subprotocols=["mcp"], additional_headers={"x-api-key": ADMIN}
    ) as socket:
        socket.send(json.dumps(call))
        assert "result" in json.loads(socket.recv(20))


async def test_the_log_tells_the_trace_and_a_lost_collector_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    # Nobody listens there.
    server = server_with(tmp_path, "http://127.0.0.1:9")
    caplog.set_level("INFO")
    async with server:
        for _ in range(3):
            await server.mcp_server.call_tool("Company_list", {})
            await asyncio.to_thread(server._traces._provider.force_flush, 2000)
    calls = [each for each in caplog.records if each.getMessage() == "call"]
    traces = {each.trace_id for each in calls if each.tool == "Company_list"}
    assert len(traces) == 3
    assert all(len(each) == 32 for each in traces)
    assert len([e for e in caplog.records if e.getMessage() == "traces_not_exported"]) == 1
    assert not [each for each in caplog.records if each.name.startswith("opentelemetry")]


async def test_statements_on_postgresql_and_of_transactions_are_spans(
    postgres_server: PostgresServer,
) -> None:
    kept = InMemorySpanExporter()
    traces = Traces(kept)
    with postgres_server.database() as url:
        database = open_database(url, PoolSettings(wrap=traces.database))
        try:
            await database.write(None, "CREATE TABLE t (id bigint)", ())
            async with database.atomic() as session:
                await session.write(None, "INSERT INTO t VALUES ($1)", (739_001,))
            [[found]] = await database.read(None, "SELECT id FROM t WHERE id = $1", (739_001,))
            with pytest.raises(ServerError):
                await database.read(None, "SELECT nothing FROM t", ())
        finally:
            await database.close()
    assert found == 739_001
    await asyncio.to_thread(traces._provider.force_flush)
    spans = kept.get_finished_spans()
    assert [each.name for each in spans] == ["CREATE", "INSERT", "BEGIN", "SELECT", "SELECT"]
    assert {(each.attributes or {})["db.system.name"] for each in spans} == {"postgresql"}
    insert, transaction, failed = spans[1], spans[2], spans[-1]
    assert insert.parent is not None
    assert insert.parent.span_id == transaction.context.span_id
    assert "error.type" in (failed.attributes or {})
    assert not any("739001" in each.to_json() for each in spans)
