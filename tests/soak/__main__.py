"""The soak's command: see `scripts/soak --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg

from tests.postgres import DURABLE, running_postgres
from tests.redis_server import running_redis
from tests.soak.agents import Agent, Replicas, UnexpectedError
from tests.soak.faults import Faults
from tests.soak.ledger import Ledger
from tests.soak.replicas import ROOT, Replica

SECRET = "a-secret-that-only-the-soak-has-and-nobody-else"
_SAMPLE_SECONDS = 1.0
_END_SECONDS = 60.0
_MORE_MEMORY = 24 * 2**20
_MORE_MEMORY_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, how often."""

    minutes: float
    agents: int
    rate: float
    every: float
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Soaks, prints a report as JSON, and fails if a promise was broken."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--agents", type=int, default=500, help="how many at once (500)")
    parser.add_argument("--rate", type=float, default=300, help="calls a second of all (300)")
    parser.add_argument("--every", type=float, default=12, help="seconds between faults (12)")
    parser.add_argument("--seed", type=int, default=20_261_125, help="of the schedule")
    plan = Plan(**vars(parser.parse_args(arguments)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        postgres = stack.enter_context(running_postgres(DURABLE))
        redis = stack.enter_context(running_redis())
        url = stack.enter_context(postgres.database())
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "JWT_SECRET": SECRET,
            "MCP_MODELS": "tests.soak.app:db",
            "MCP_LOG_LEVEL": "WARNING",
            "MCP_RATE_LIMIT_PER_MINUTE": "1000000",
            "MCP_ENABLE_CACHING": "true",
            "MCP_CIRCUIT_BREAKER_RECOVERY_SECONDS": "1",
        }
        steady, victim = (Replica(settings, folder / f"{n}.log") for n in ("steady", "victim"))
        for replica in (steady, victim):
            stack.callback(replica.stop)
            replica.start()
        ledger = Ledger()
        faults = Faults(postgres, redis, victim, plan.seed)
        memory = asyncio.run(_soak(plan, ledger, faults, steady))
        for replica in (steady, victim):
            replica.stop()
        ledger.compare(asyncio.run(_rows(url)))
        report = {
            "plan": {name: getattr(plan, name) for name in plan.__dataclass_fields__},
            "faults_injected": faults.happened,
            "memory_mib": [round(each / 2**20) for each in memory[:: max(1, len(memory) // 20)]],
            "audit": _verify_audit(settings, ledger),
        }
        _judge_memory(memory, ledger)
        report |= ledger.summary()
    sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
    return 1 if ledger.faults else 0


async def _soak(plan: Plan, ledger: Ledger, faults: Faults, steady: Replica) -> list[int]:
    """Lets agents and faults loose; how much memory the steady replica had, each second."""
    ports, tls = [steady.port, faults.victim.port], ssl.create_default_context()
    ending, calm = asyncio.Event(), asyncio.Event()
    pause = plan.agents / plan.rate
    memory: list[int] = []
    agents = [
        Agent(number, Replicas(ports, tls), ledger, secret=SECRET, seed=plan.seed, pause=pause)
        for number in range(plan.agents)
    ]
    working = asyncio.gather(*(_until_unexpected(each, ending) for each in agents))
    failing = asyncio.create_task(faults.happen(calm, plan.every))
    until = time.monotonic() + 60 * plan.minutes
    while time.monotonic() < until and not failing.done():
        await asyncio.sleep(_SAMPLE_SECONDS)
        memory.append(steady.memory)
    calm.set()
    await failing
    ending.set()
    try:
        await asyncio.wait_for(working, _END_SECONDS)
    except TimeoutError:
        ledger.faults.append(f"after {_END_SECONDS:g} s without faults calls still wait")
    return memory


async def _until_unexpected(agent: Agent, ending: asyncio.Event) -> None:
    try:
        await agent.work(ending)
    except UnexpectedError:
        # The ledger has it. The others go on, so that the report says how often it comes.
        return


async def _rows(url: str) -> list[tuple[str, str, int]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tenant_id, name, version FROM notes")
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


def _verify_audit(settings: dict[str, str], ledger: Ledger) -> str:
    """What `audit verify` says; the entries of all acknowledged creations have to be there."""
    command = [sys.executable, "-m", "kailash_mcp_prod", "audit"]
    verified = _run([*command, "verify"], settings)
    if verified.returncode:
        ledger.faults.append(f"the audit does not hold: {verified.stdout[-500:]}")
    exported = _run([*command, "export"], settings)
    if exported.returncode:
        ledger.faults.append(f"the audit can't be exported: {exported.stderr[-500:]}")
    told = {
        (entry["operation"], *entry["ids"])
        for line in exported.stdout.splitlines()
        if (entry := json.loads(line))["outcome"] == "ok" and "operation" in entry
    }
    for name, note in ledger.notes.items():
        for operation, known in (("create", note.id is not None), ("delete", note.gone)):
            if known and (operation, note.id) not in told:
                ledger.faults.append(f"the audit lacks the {operation} of {name}")
    return (verified.stdout.strip().splitlines() or [verified.stderr[-200:]])[-1]


def _run(command: Sequence[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MCP_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _judge_memory(memory: Sequence[int], ledger: Ledger) -> None:
    """Compares the second quarter, when all is warm, with the last."""
    quarter = len(memory) // 4
    if quarter < 5:
        return
    before, after = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    if after - before > max(_MORE_MEMORY, _MORE_MEMORY_SHARE * before):
        grown = f"{before / 2**20:.0f} to {after / 2**20:.0f} MiB"
        ledger.faults.append(f"the memory of a replica grew from {grown}")


if __name__ == "__main__":
    sys.exit(main())
