"""What a step of a workflow session costs, for the benchmark of sessions.

A step that creates a record, with its policy, its references and the runtime of Kailash, and kept
so that it is done once: beside the bare call of the record tool, on the same SQLite file. Both wait
for the disk (`synchronous` is FULL).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from tests.benchmarks.harness import (
    Figure,
    Finding,
    Rounds,
    at_most,
    interleave,
    settle_heap,
)

CALLS = 150
ROUNDS = 15
BARE, STEP, READ, BARE_READ = "bare create", "create step", "read step", "bare read"


class Item:
    """An item."""

    id: str
    name: str
    note: str = ""
    amount: int = 0


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[ProductionMCPServer]:
    """A server over an empty database."""
    db = DataFlow(f"sqlite:///{path}", enable_caching=False, enable_model_persistence=False)
    db.model(Item)
    config = ServerConfig(port=0, enable_auth=False, rate_limit_per_minute=10**9, log_level="ERROR")
    async with ProductionMCPServer(config, dataflow=db) as server:
        yield server


def operation(name: str, /, **parameters: Any) -> dict[str, Any]:
    """A step on records."""
    return {
        "type": "dataflow_operation",
        "model": "Item",
        "operation": name,
        "parameters": parameters,
    }


async def costs() -> list[Finding]:
    """The whole calls, in milliseconds of the wall clock and of CPU time."""
    wall: Rounds
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with serving(Path(directory) / "bench.db") as server:
            call = server.mcp_server.call_tool
            numbers = count()
            made = await call("Item_create", {"data": {"name": "read me"}})

            async def bare(number: int, _session: str) -> None:
                await call("Item_create", {"data": {"name": f"n{number}"}})

            async def bare_read(_number: int, _session: str) -> None:
                await call("Item_read", {"id": made["id"]})

            def stepping(config: Callable[[int], dict[str, Any]]) -> Any:
                async def step(number: int, session: str) -> None:
                    await call(
                        "execute_workflow_step",
                        {
                            "workflow_session_id": session,
                            "step_name": f"s{number}",
                            "step_config": config(number),
                        },
                    )

                return step

            def per_call(name: str, one: Any) -> Callable[[], Awaitable[float]]:
                async def measured() -> float:
                    begun = await call("create_agent_workflow_session", {"workflow_type": "bench"})
                    session = begun["workflow_session_id"]
                    began, used = time.perf_counter(), time.process_time()
                    for _ in range(CALLS):
                        await one(next(numbers), session)
                    cpu.setdefault(name, []).append((time.process_time() - used) / CALLS * 1e3)
                    return (time.perf_counter() - began) / CALLS * 1e3

                return measured

            ways = {
                BARE: bare,
                STEP: stepping(lambda number: operation("create", name=f"n{number}")),
                BARE_READ: bare_read,
                READ: stepping(lambda _: operation("read", id=made["id"])),
            }
            settle_heap()
            wall = await interleave(
                {name: per_call(name, one) for name, one in ways.items()}, ROUNDS
            )
    spent = Rounds(cpu)
    what = "a step that creates a record on SQLite"
    return [
        at_most(f"{what}: of the bare call", 3, wall.ratio(STEP, BARE), "times"),
        Figure(f"{what}: CPU time of the bare call's", spent.ratio(STEP, BARE), "times"),
        *(Figure(f"{name}: wall clock", wall.median(name), "ms") for name in ways),
        *(Figure(f"{name}: CPU time", spent.median(name), "ms") for name in ways),
    ]


def steps() -> list[Finding]:
    """The bar, in this process."""
    return asyncio.run(costs())
