from __future__ import annotations

import json
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.observe.metrics_calls import OTHER, CallFigures
from kailash_mcp_prod.observe.metrics_operations import Operation, OperationFigures
from kailash_mcp_prod.protocol import Connection, Context, Dispatcher
from tests.sample_host import SampleHost
from tests.wire_schema import LEGACY, MODERN

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": LEGACY,
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


class Client:
    """A client of a dispatcher that is observed."""

    def __init__(self, *, timed: bool = True) -> None:
        self.calls = CallFigures()
        self.figures = OperationFigures(self.calls, timed=timed)
        self.dispatcher = Dispatcher(SampleHost(), observer=self.figures)
        self.figures.know(["add", "conflict"], self.dispatcher.methods())
        self.connection = Connection()

    async def send(
        self, method: str, *, channel: bool = False, transport: str = "http", **params: Any
    ) -> bytes:
        async def emit(_message: bytes) -> None:
            pass

        context = Context(
            ANONYMOUS,
            emit,
            self.connection.lifetime,
            self.connection if channel else None,
            transport=transport,
        )
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply = await self.dispatcher.receive(json.dumps(message).encode(), context)
        assert reply is not None
        return reply.body

    def counts(self) -> dict[Operation, int]:
        return {key: each.count for key, each in self.figures.operations.items()}


@pytest.fixture
def client() -> Client:
    return Client()


async def test_requests_are_told_apart_by_what_is_in_closed_sets(client: Client) -> None:
    body = await client.send("tools/list", _meta=META)
    body += await client.send("tools/call", name="add", arguments={"a": 1, "b": 2}, _meta=META)
    body += await client.send("tools/call", name="invented", arguments={}, _meta=META)
    body += await client.send("tools/call", name=["odd"], arguments={}, _meta=META)
    body += await client.send("tools/invented", _meta=META, transport="pigeon")
    odd = {**META, "io.modelcontextprotocol/protocolVersion": "1066-10-14"}
    body += await client.send("tools/list", _meta=odd)
    assert client.counts() == {
        Operation("tools/list", "", "", MODERN, "http"): 1,
        Operation("tools/call", "add", "", MODERN, "http"): 1,
        Operation("tools/call", OTHER, "-32602", MODERN, "http"): 2,
        Operation(OTHER, "", "-32601", MODERN, OTHER): 1,
        Operation("tools/list", "", "-32022", OTHER, "http"): 1,
    }
    assert client.calls.characters == len(body)
    assert client.calls.agents["anonymous"].characters == len(body)


async def test_a_result_that_is_an_error_is_a_tool_error(client: Client) -> None:
    await client.send("tools/call", name="conflict", arguments={}, _meta=META)
    failed = Operation("tools/call", "conflict", "tool_error", MODERN, "http")
    assert client.counts() == {failed: 1}


async def test_a_session_is_open_from_the_handshake_to_the_end_of_its_channel(
    client: Client,
) -> None:
    await client.send("initialize", channel=True, transport="stdio", **HELLO)
    await client.send("ping", channel=True, transport="stdio")
    [(session, open_now)] = client.figures.open_sessions.items()
    assert (session.version, session.transport, open_now) == (LEGACY, "stdio", 1)
    assert client.figures.sessions == {}
    client.connection.close()
    assert client.figures.open_sessions == {session: 0}
    assert client.figures.sessions[session].count == 1
    assert client.counts()[Operation("ping", "", "", LEGACY, "stdio")] == 1


async def test_a_handshake_that_fails_opens_nothing(client: Client) -> None:
    await client.send("initialize", channel=True)
    assert client.figures.open_sessions == {}


async def test_what_was_counted_of_removed_tools_becomes_other(client: Client) -> None:
    await client.send("tools/call", name="add", arguments={"a": 1, "b": 2}, _meta=META)
    client.figures.know([])
    await client.send("tools/call", name="add", arguments={"a": 1, "b": 2}, _meta=META)
    assert client.counts() == {Operation("tools/call", OTHER, "", MODERN, "http"): 2}
    client.figures.forget()
    assert client.counts() == {}


async def test_requests_that_are_not_timed_are_counted() -> None:
    client = Client(timed=False)
    await client.send("tools/list", _meta=META)
    [histogram] = client.figures.operations.values()
    assert (histogram.count, histogram.total, sum(histogram.buckets)) == (1, 0.0, 0)
