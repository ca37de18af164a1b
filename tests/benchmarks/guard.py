"""What the guard costs, and what it gives: `make bench NAME=guard`.

The first two bars are CPU time in one process: a call of a record tool whose handler answers at
once, with credential, policy, limits, breaker and a cache that misses, less a call of that handler.
Each token is used ten times; what its first call costs stands beside the bars. The last bar is the
whole server of the reference application over HTTP with all of it on, beside an SDK 1.30 FastMCP
whose tool does nothing, as in the benchmark of the protocol.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.records.effects import Effects
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.server import ProductionMCPServer
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from tests.benchmarks.harness import (
    Figure,
    Finding,
    Rounds,
    at_least,
    at_most,
    in_fresh_process,
    interleave,
    run,
    settle_heap,
)
from tests.benchmarks.http_load import Load
from tests.benchmarks.protocol_contestants import Server, all_running

CALLS = 4_000
USES = 10
ROUNDS = 7
SECONDS = 1.5
CONNECTIONS = 50
OURS, PEER = "kailash-mcp-prod", "SDK 1.30 FastMCP"
SECRET = "a-secret-that-only-this-benchmark-has"
KEY = "a-key-that-only-this-benchmark-has"
RECORD = {"id": "c1", "name": "Acme", "city": "Kiel", "country": "DE", "note": "x" * 200}


async def answer(_call: ToolCall) -> dict[str, Any]:
    return RECORD


KIND = FieldType(Kind.TEXT)
COMPANY = Model("Company", "companies", "", (Field("id", KIND, "", required=False),))
TOOL = ToolSpec(
    name="Company_read",
    title="Read",
    description="Reads a company.",
    input_schema={"type": "object"},
    output_schema={"type": "object"},
    hints=Hints(read_only=True, destructive=False, idempotent=True),
    permissions=("Company:read",),
    group="Company",
    handler=answer,
    operation="read",
    backend="database",
)


def tokens() -> list[str]:
    """A token for each call, for one subject."""
    import jwt

    claims = {"sub": "bench", "permissions": ["*"], "exp": time.time() + 3600}
    return [jwt.encode({**claims, "iat": time.time() - n}, SECRET, "HS256") for n in range(CALLS)]


async def costs() -> list[Finding]:
    """CPU time per call, in microseconds."""
    config = ServerConfig(
        api_keys={KEY: {"permissions": ["*"], "rate_limit": 1_000_000_000}},
        jwt_secret=SECRET,
        rate_limit_per_minute=1_000_000_000,
        enable_caching=True,
        log_level="ERROR",
    )
    server = ProductionMCPServer(config)
    server.registry.add([replace(TOOL)])
    server.service.mark_ready()
    reads = server.reads
    assert reads is not None
    reads.serve([COMPANY], Effects({"companies": frozenset({"companies"})}, frozenset()))
    authenticator = server._credentials.authenticator
    asked = 0

    async def through_the_guard(credentials: Credentials) -> None:
        nonlocal asked
        asked += 1
        principal = await authenticator.authenticate(credentials)
        # Never the same twice, so that the cache has it never.
        await server.service.call(principal, "Company_read", {"id": str(asked)}, request_id="r")

    with_key = Credentials(api_key=KEY)
    with_token = [Credentials(authorization=f"Bearer {token}") for token in tokens()]
    principal = await authenticator.authenticate(with_key)
    call = ToolCall(principal, {"id": "c1"}, "r")

    def per_call(one: Callable[[int], Awaitable[Any]]) -> Callable[[], Awaitable[float]]:
        async def measured() -> float:
            began = time.process_time()
            for number in range(CALLS):
                await one(number)
            return (time.process_time() - began) / CALLS * 1e6

        return measured

    settle_heap()
    found = await interleave(
        {
            "bare": per_call(lambda _: answer(call)),
            "API key": per_call(lambda _: through_the_guard(with_key)),
            "JWT": per_call(lambda number: through_the_guard(with_token[number // USES])),
            "first": per_call(lambda number: through_the_guard(with_token[number])),
        },
        ROUNDS,
    )
    bare = found.median("bare")
    what = "the guard's CPU time per call"
    return [
        at_most(f"{what}, API key", 60, found.median("API key") - bare, "µs"),
        at_most(f"{what}, JWT", 120, found.median("JWT") - bare, "µs"),
        Figure(f"{what}, a JWT's first call", found.median("first") - bare, "µs"),
    ]


def cpu() -> list[Finding]:
    """The first two bars, in this process."""
    return asyncio.run(costs())


def cached() -> Iterator[Finding]:
    """A cached read over HTTP beside a tool of the SDK that does nothing."""
    with all_running(OURS, PEER) as servers:
        ours = servers[OURS]
        key = make_company(ours)
        reading = replace(ours, tool="Company_read", arguments={"id": key})
        loads: dict[str, list[Load]] = {OURS: [], PEER: []}
        for _ in range(ROUNDS):
            gc.collect()
            loads[OURS].append(reading.load("modern", "tools/call", CONNECTIONS, SECONDS))
            loads[PEER].append(servers[PEER].load("legacy", "tools/call", CONNECTIONS, SECONDS))
        hits = hits_of(ours)
    speed = Rounds({name: [each.per_second for each in all_] for name, all_ in loads.items()})
    what = f"cached Company_read, {CONNECTIONS} connections"
    yield at_least(f"{what}: of {PEER} doing nothing", 8, speed.ratio(OURS, PEER), "times")
    yield at_most(f"{what}: errors", 0, sum(each.errors for each in loads[OURS]), "errors")
    yield at_least(f"{what}: answered from the cache", 99, 100 * hits, "%")
    for name in loads:
        yield Figure(f"{what}: {name}", speed.median(name), "calls/s")


def call_tool(server: Server, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The structured result of one call."""
    head, _, body = server.calling(name, arguments).partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    answered = httpx.post(f"http://127.0.0.1:{server.port}/mcp", content=body, headers=headers)
    result: dict[str, Any] = answered.json()["result"]["structuredContent"]
    return result


def make_company(server: Server) -> str:
    """The id of a new company."""
    made = call_tool(server, "Company_create", {"data": {"name": "Benchmark"}})
    return str(made["id"])


def hits_of(server: Server) -> float:
    """Which share of the reads the cache has answered, as the server counts."""
    health = call_tool(server, "bench_cache", {})
    return float(health["hits"] / max(1, health["hits"] + health["misses"]))


def all_parts() -> Iterator[Finding]:
    """Every part, one after the other."""
    yield from in_fresh_process(cpu)
    yield from cached()


if __name__ == "__main__":
    sys.exit(run("guard", all_parts))
