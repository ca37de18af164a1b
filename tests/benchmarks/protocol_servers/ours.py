"""Our server with 130 tools: the reference application's, and a few that do nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from kailash_mcp_prod.cli_loop import run, settle_garbage_collector
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.server import ProductionMCPServer
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec

TOOLS = 135
KEY = "key-of-the-benchmark"


async def nothing(_call: ToolCall) -> Mapping[str, Any]:
    return {"done": True}


async def cache_of(server: ProductionMCPServer, _call: ToolCall) -> dict[str, Any]:
    """What the cache has done so far."""
    return {} if server.reads is None else asdict(server.reads.cache.snapshot())


def no_op(name: str) -> ToolSpec:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    return ToolSpec(
        name=name,
        title="Do nothing",
        description="Does nothing and says so.",
        input_schema=schema,
        output_schema={"type": "object", "properties": {"done": {"type": "boolean"}}},
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=("bench:read",),
        group="bench",
        handler=nothing,  # type: ignore[arg-type]
    )


async def serve(port: int, database: str) -> None:
    keys = {KEY: {"permissions": ["*"], "rate_limit": 1_000_000_000}}
    config = ServerConfig.load(
        {
            "port": port,
            "database_url": f"sqlite:///{database}",
            "api_keys": json.dumps(keys),
            "log_level": "ERROR",
            "enable_caching": True,
            # So that there are no more tools than the others have.
            "enable_agent_collaboration": False,
        }
    )
    os.environ["DATABASE_URL"] = f"sqlite:///{database}"
    async with ProductionMCPServer(config) as server:
        missing = TOOLS - len(server.registry)
        server.registry.add(no_op(f"no_op_{number}") for number in range(missing - 1))
        server.registry.add([replace(no_op("bench_cache"), handler=partial(cache_of, server))])
        settle_garbage_collector()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="kailash-mcp-prod-bench-") as folder:
        run(serve(int(sys.argv[1]), str(Path(folder) / "bench.db")))
