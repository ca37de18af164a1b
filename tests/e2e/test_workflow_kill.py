"""Servers that are killed at random moments: every acknowledged step is done once and only once."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import HttpServer, serving

AT_ONCE = 16
FLAGS = [
    *("--no-auth", "--models", "tests.e2e.workflow_app:db"),
    *("--workflows", "tests.e2e.workflow_app:registry"),
]
SETTINGS = {"MCP_RATE_LIMIT_PER_MINUTE": "1000000000", "MCP_LOG_LEVEL": "ERROR"}


def create(name: str) -> dict[str, Any]:
    return {
        "type": "dataflow_operation",
        "model": "Item",
        "operation": "create",
        "parameters": {"name": name},
    }


def steps_of(session: str) -> dict[str, dict[str, Any]]:
    """Steps of every kind; each record has a name of its own."""
    renamed = {"id": "{{steps.plain.id}}", "note": "{{session.label}}"}
    flow = {"type": "workflow", "workflow": "two_items", "inputs": {"name": f"{session}-flow"}}

    def parts(kind: str) -> list[dict[str, Any]]:
        return [{"step_name": n, **create(f"{session}-{kind}-{n}")} for n in ("a", "b", "c")]

    return {
        "plain": create(f"{session}-plain"),
        "update": {**create(""), "operation": "update", "parameters": renamed},
        "flow": flow,
        "side": {"type": "parallel", "steps": parts("side")},
        "read": {**create(""), "operation": "read", "parameters": {"id": "{{steps.plain.id}}"}},
        "line": {
            "type": "sequence",
            "steps": [
                *parts("line"),
                {"step_name": "r", **create(f"{session}-line-{{{{steps.a.note}}}}d")},
            ],
        },
        "whole": {"atomic": True, "steps": parts("whole")},
        "choice": {
            "type": "condition",
            "condition": {"left": "{{steps.read.note}}", "right": "{{session.label}}"},
            "then": parts("choice"),
        },
    }


def records_of(session: str) -> list[str]:
    """The names of all records of a session."""
    groups = [
        f"{session}-{kind}-{n}" for kind in ("side", "whole", "line", "choice") for n in "abc"
    ]
    return [
        *groups,
        *(f"{session}-plain", f"{session}-flow-1", f"{session}-flow-2", f"{session}-line-d"),
    ]


class Lives:
    """One server after another, on ports of their own; `url` is that of the one that lives."""

    def __init__(self) -> None:
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.acknowledged = 0
        self._awaited: dict[int, asyncio.Event] = {}

    def acknowledge(self) -> None:
        self.acknowledged += 1
        for count, event in self._awaited.items():
            if self.acknowledged >= count:
                event.set()

    async def reach(self, count: int) -> None:
        event = self._awaited.setdefault(count, asyncio.Event())
        if self.acknowledged < count:
            await event.wait()


async def call(lives: Lives, client: httpx.AsyncClient, tool: str, **arguments: Any) -> Any:
    """The result of a tool, sent again to the next server when one was killed."""
    while True:
        url = await asyncio.shield(lives.url)
        try:
            answer = await client.post(f"{url}/tools/{tool}", json=arguments)
        except httpx.TransportError:
            if lives.url.done() and lives.url.result() == url:
                # The next one is not there yet.
                await asyncio.sleep(0.01)
            continue
        body = answer.json()
        if answer.status_code == 200:
            return body
        assert body["error"]["retryable"], body
        await asyncio.sleep(min(body["error"].get("retry_after_seconds", 0.1), 0.2))


async def drive(
    lives: Lives, client: httpx.AsyncClient, number: int, acknowledged: dict[str, dict[str, Any]]
) -> str:
    """One session from its beginning to its end."""
    label = f"s{number}"
    made = await call(
        lives,
        client,
        "create_agent_workflow_session",
        workflow_type="kill",
        session_config={"label": label},
        _idempotency_key=f"make-{number}",
    )
    session = str(made["workflow_session_id"])
    for name, config in steps_of(label).items():
        done = await call(
            lives,
            client,
            "execute_workflow_step",
            workflow_session_id=session,
            step_name=name,
            step_config=config,
        )
        acknowledged.setdefault(session, {})[name] = done["result"]
        lives.acknowledge()
    return session


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str, int, int]]:
    """The directory, the database, and how many sessions and kills there are."""
    if request.param == "sqlite":
        yield tmp_path, f"sqlite:///{tmp_path / 'kill.db'}", 60, 5
        return
    yield tmp_path, request.getfixturevalue("postgres_url"), 40, 3


@pytest.mark.timeout(170)
async def test_every_acknowledged_step_is_done_once(place: tuple[Path, str, int, int]) -> None:
    workdir, database, sessions, kills = place
    chance = random.Random(7)
    acknowledged: dict[str, dict[str, Any]] = {}
    total = sessions * len(steps_of(""))
    # Spread over the whole, and always in the middle of something.
    moments = sorted(chance.sample(range(total // 20, total - total // 20), kills))
    with ExitStack() as stack:
        settings = {**SETTINGS, "DATABASE_URL": database}

        def born() -> HttpServer:
            return stack.enter_context(serving(workdir, *FLAGS, settings=settings))

        server = await asyncio.to_thread(born)
        lives = Lives()
        lives.url.set_result(server.rest)
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx.AsyncClient(timeout=40, limits=limits) as client:
            places = asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> str:
                async with places:
                    return await drive(lives, client, number, acknowledged)

            driving = asyncio.gather(*(one(number) for number in range(sessions)))
            for moment in moments:
                # The next one is up before, so that it finds what the killed one still held.
                following = await asyncio.to_thread(born)
                await lives.reach(moment)
                await asyncio.sleep(chance.random() * 0.02)
                server.process.process.send_signal(signal.SIGKILL)
                server.process.process.wait()
                server = following
                lives.url = asyncio.get_running_loop().create_future()
                lives.url.set_result(server.rest)
            ids = await driving

            counted: Counter[str] = Counter()
            cursor: dict[str, Any] = {}
            while cursor is not None:
                page = await call(lives, client, "Item_list", limit=1000, **cursor)
                counted.update(each["name"] for each in page["records"])
                cursor = {"cursor": page["next_cursor"]} if "next_cursor" in page else None
            expected = Counter(
                name for number in range(sessions) for name in records_of(f"s{number}")
            )
            assert counted == expected

            for session in ids:
                status = await call(
                    lives,
                    client,
                    "get_workflow_session_status",
                    workflow_session_id=session,
                    include_results=True,
                )
                kept = {each["step_name"]: each["result"] for each in status["steps"]}
                assert json.dumps(kept, sort_keys=True) == json.dumps(
                    acknowledged[session], sort_keys=True
                )
