"""What sessions and collaboration cost, and how fast news travels: `make bench NAME=sessions`.

The first bar is the time of `create_agent_session` beside that of `Company_create`, both through
the service of the reference application on SQLite; `workflow_steps` adds that of a step. In the
next, 500 agents with a session each
work at once on one server with PostgreSQL. The last is the time from the beginning of a call on
one replica until a member that watches the workspace on another one, over HTTP, has the
notification; the two replicas share PostgreSQL, Redis and this process.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from queue import SimpleQueue
from typing import Any

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.server import ProductionMCPServer
from tests.benchmarks.harness import (
    Figure,
    Finding,
    at_most,
    in_fresh_process,
    interleave,
    run,
    seconds_of,
    settle_heap,
)
from tests.benchmarks.workflow_steps import steps
from tests.e2e.exchanges import ModernHttp
from tests.postgres import running_postgres
from tests.redis_server import running_redis

CREATIONS = 150
ROUNDS = 7
AGENTS = 500
CHANGES = 400
_numbers = count(1)


class Names:
    """Takes a bearer token for a subject, with every permission."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        return agent(credentials.bearer_token or "")


def agent(name: str = "") -> Principal:
    """An agent with every permission, by default a new one."""
    return Principal(name or f"key:agent-{next(_numbers)}", frozenset({"*"}), method="key")


def server_on(url: str, **more: Any) -> ProductionMCPServer:
    """The reference application on a database."""
    settings = {
        "port": 0,
        "auth_type": "custom",
        "models": "models:db",
        "rate_limit_per_minute": 1_000_000_000,
        "log_level": "ERROR",
        "database_url": url,
    }
    config = ServerConfig(**{**settings, **more})
    return ProductionMCPServer(config, auth_providers=[Names()])


def creation() -> list[Finding]:
    """A session beside a record, in this process."""
    return asyncio.run(_creation())


async def _creation() -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        async with server_on(f"sqlite:///{folder}/bench.db") as server:
            call = server.mcp_server.call_tool

            async def records() -> float:
                who = agent()
                took = [
                    await seconds_of(
                        lambda: call("Company_create", {"data": {"name": "Acme"}}, principal=who)
                    )
                    for _ in range(CREATIONS)
                ]
                return statistics.median(took) * 1e3

            async def sessions() -> float:
                who = agent()
                took = [
                    await seconds_of(lambda: call("create_agent_session", {}, principal=who))
                    for _ in range(CREATIONS)
                ]
                return statistics.median(took) * 1e3

            await sessions()
            settle_heap()
            found = await interleave({"record": records, "session": sessions}, ROUNDS)
    ratio = found.ratio("session", "record")
    return [
        at_most("create_agent_session on SQLite, of Company_create", 3, ratio, "times"),
        Figure("create_agent_session on SQLite", found.median("session"), "ms"),
        Figure("Company_create on SQLite", found.median("record"), "ms"),
    ]


def agents_at_once() -> list[Finding]:
    """All agents on one server with PostgreSQL, in this process."""
    with running_postgres() as postgres, postgres.database() as url:
        return asyncio.run(_agents_at_once(url))


async def _agents_at_once(url: str) -> list[Finding]:
    errors: list[str] = []
    waits: list[float] = []
    async with server_on(url) as server:

        async def call(who: Principal, tool: str, **arguments: Any) -> dict[str, Any]:
            began = time.perf_counter()
            try:
                return await server.mcp_server.call_tool(tool, arguments, principal=who)
            except ServerError as error:
                errors.append(f"{tool}: {error.code}")
                raise
            finally:
                waits.append(time.perf_counter() - began)

        async def work() -> int:
            who = agent()
            session = await call(who, "create_agent_session")
            session_id = session["session_id"]
            for number in range(3):
                made = await call(
                    who, "Company_create", data={"name": "Acme"}, _session_id=session_id
                )
                await call(who, "Company_read", id=made["id"], _session_id=session_id)
                await call(
                    who,
                    "update_agent_context",
                    session_id=session_id,
                    set={"n": number},
                    expected_version=number,
                )
            await call(who, "get_agent_context", session_id=session_id)
            found = await call(who, "get_agent_session", session_id=session_id)
            return int(found["request_count"])

        began = time.perf_counter()
        counted = await asyncio.gather(*(work() for _ in range(AGENTS)), return_exceptions=True)
        took = time.perf_counter() - began
    wrong = sum(each != 10 for each in counted)
    what = f"{AGENTS} agents with a session each on PostgreSQL"
    return [
        at_most(f"{what}: errors", 0, len(errors), "errors"),
        at_most(f"{what}: sessions that counted wrong", 0, wrong, "sessions"),
        Figure(f"{what}: calls", len(waits) / took, "calls/s"),
        Figure(f"{what}: p99 of a call", _percentile(waits, 99) * 1e3, "ms"),
    ]


def news() -> list[Finding]:
    """How long news takes from one replica to another, in this process."""
    with running_postgres() as postgres, postgres.database() as url, running_redis() as redis:
        replicas = [server_on(url, redis_url=redis.url) for _ in range(2)]
        for each in replicas:
            each.start_mcp_server_async()
        try:
            took = _news(*replicas)
        finally:
            for each in replicas:
                each.stop_mcp_server()
    what = "a change reaches a member on another replica, with Redis"
    return [
        at_most(f"{what}: p99", 100, _percentile(took, 99) * 1e3, "ms"),
        Figure(f"{what}: median", statistics.median(took) * 1e3, "ms"),
        Figure(f"{what}: longest", max(took) * 1e3, "ms"),
    ]


def _news(writing: ProductionMCPServer, telling: ProductionMCPServer) -> list[float]:
    owner, member = agent(), agent()

    def call(who: Principal, tool: str, **arguments: Any) -> dict[str, Any]:
        return asyncio.run(writing.mcp_server.call_tool(tool, arguments, principal=who))

    invited = [{"agent_id": member.agent_id}]
    here = {
        "workspace_id": call(owner, "enable_agent_collaboration", agents=invited)["workspace_id"]
    }
    call(member, "respond_to_invitation", **here, accept=True)
    uri = f"collaboration://{here['workspace_id']}"
    heard: SimpleQueue[float] = SimpleQueue()

    def listen() -> None:
        bearer = {"authorization": f"Bearer {member.subject}"}
        with (
            ModernHttp(telling.mcp_url or "", bearer) as client,
            client.listen(resourceSubscriptions=[uri]) as told,
        ):
            for number, _ in enumerate(told):
                heard.put(time.perf_counter())
                if number == CHANGES:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    heard.get(timeout=10)
    took = []
    for number in range(CHANGES):
        began = time.perf_counter()
        call(owner, "write_blackboard", **here, key="k", value=number)
        took.append(heard.get(timeout=10) - began)
    listener.join()
    return took


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def all_parts() -> Iterator[Finding]:
    """Every part, one after the other."""
    yield from in_fresh_process(creation)
    yield from in_fresh_process(steps)
    yield from in_fresh_process(agents_at_once)
    yield from in_fresh_process(news)


if __name__ == "__main__":
    sys.exit(run("sessions", all_parts))
