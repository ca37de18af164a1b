"""What a restarted server knows, and how much there may be of everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from kailash_mcp_prod.errors import ConflictError, NotFoundError, ServerError
from kailash_mcp_prod.sessions import agent_store, collaboration_store
from kailash_mcp_prod.sessions.agent_store import AgentSessionStore, sessions
from kailash_mcp_prod.sessions.collaboration_store import WorkspaceStore
from kailash_mcp_prod.sessions.collaboration_tables import (
    PARTS,
    entries,
    events,
    leases,
    members,
    messages,
    workspaces,
)
from kailash_mcp_prod.sessions.identity import Caller, owner_digest
from kailash_mcp_prod.state.database import StateDatabase
from tests.integration.agents.deployments import Deployment, agent, serving

DAY = 86_400.0
ME = "0" * 64


def test_a_restarted_server_knows_sessions_and_workspaces(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'lasting.db'}"
    owner, guest = agent(), agent()

    async def before(found: Deployment) -> tuple[str, str]:
        session_id = await found.session(owner, capabilities=["quotes"])
        await found.call(owner, "update_agent_context", session_id=session_id, set={"n": 1})
        await found.call(owner, "Company_list", _session_id=session_id)
        workspace_id = await found.workspace(owner, member=guest)
        await found.call(
            guest, "write_blackboard", workspace_id=workspace_id, key="plan", value=["x"]
        )
        await found.call(owner, "send_agent_message", workspace_id=workspace_id, message="hi")
        return session_id, workspace_id

    async def after(found: Deployment, session_id: str, workspace_id: str) -> None:
        session = await found.call(owner, "get_agent_session", session_id=session_id)
        assert session["capabilities"] == ["quotes"]
        assert session["request_count"] == 2, "the last calls were stored at the end"
        context = await found.call(owner, "get_agent_context", session_id=session_id)
        assert context["context"] == {"n": 1}
        board = await found.call(guest, "read_blackboard", workspace_id=workspace_id)
        assert [each["value"] for each in board["entries"]] == [["x"]]
        mail = await found.call(guest, "read_agent_messages", workspace_id=workspace_id)
        assert [each["message"] for each in mail["messages"]] == ["hi"]

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("DATABASE_URL", "REDIS_URL", "API_KEYS", "JWT_SECRET"):
            patch.delenv(name, raising=False)
        with serving(url, 1) as servers:
            ids = asyncio.run(before(Deployment("sqlite", url, servers)))
        with serving(url, 1) as servers:
            asyncio.run(after(Deployment("sqlite", url, servers), *ids))


def test_without_collaboration_its_tools_are_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'alone.db'}"
    with serving(url, 1, enable_agent_collaboration=False) as [server]:
        names = {tool.name for tool in server.registry}
        assert "create_agent_session" in names
        assert "enable_agent_collaboration" not in names
        found = Deployment("sqlite", url, [server])
        refused = asyncio.run(found.refused(agent(), "list_collaborations"))
        assert refused.code == "not_found"


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[StateDatabase]:
    database = StateDatabase(database_url)
    await database.prepare([*agent_store.TABLES, *collaboration_store.TABLES])
    yield database
    await database.close()


async def test_an_agent_has_so_many_sessions_and_no_more(state: StateDatabase) -> None:
    store = AgentSessionStore(state, DAY)
    await store.create(ME, "a", {})
    async with state.begin() as connection:
        [row] = (await connection.execute(select(sessions))).mappings()
        rows = [{**row, "id": f"as_{number}"} for number in range(998)]
        await connection.execute(insert(sessions), rows)
    await store.create(ME, "a", {})

    with pytest.raises(ConflictError, match="1000 sessions"):
        await store.create(ME, "a", {})
    assert await store.create("f" * 64, "b", {})
    await store.end(ME, "as_1")
    assert await store.create(ME, "a", {})


async def test_of_two_who_create_at_once_one_meets_the_limit(state: StateDatabase) -> None:
    store = AgentSessionStore(state, DAY)
    await store.create(ME, "a", {})
    async with state.begin() as connection:
        [row] = (await connection.execute(select(sessions))).mappings()
        rows = [{**row, "id": f"as_{number}"} for number in range(998)]
        await connection.execute(insert(sessions), rows)

    made = await asyncio.gather(
        *(store.create(ME, "a", {}) for _ in range(4)), return_exceptions=True
    )

    assert sum(isinstance(each, ConflictError) for each in made) == 3


async def test_expired_sessions_are_removed_some_at_a_time(state: StateDatabase) -> None:
    clock = 1_000_000.0
    store = AgentSessionStore(state, 60, lambda: clock)
    for _ in range(3):
        await store.create(ME, "a", {})
    async with state.begin() as connection:
        [row, *_] = (await connection.execute(select(sessions))).mappings()
        rows = [{**row, "id": f"as_{number}"} for number in range(300)]
        await connection.execute(insert(sessions), rows)

    async def count() -> int:
        async with state.read() as connection:
            return await connection.scalar(select(func.count()).select_from(sessions)) or 0

    clock += 61
    last = await store.create(ME, "a", {})
    assert await count() == 104
    clock += 61
    last = await store.create(ME, "a", {})
    assert await count() == 1
    assert (await store.get(ME, last.id)).id == last.id


async def test_a_workspace_holds_so_much_and_says_what_is_full(state: StateDatabase) -> None:
    told: list[str] = []
    store = WorkspaceStore(state, told.append)
    me, other = Caller.of(agent()), Caller.of(agent())
    workspace_id = await store.create(me, "w", {other.name: "member"}, DAY)
    await store.respond(other, workspace_id, accept=True)

    async def full(doing: Any, limit: int) -> None:
        with pytest.raises(ConflictError) as raised:
            await doing
        assert str(limit) in raised.value.message
        assert (raised.value.details or {})["limit"] == limit

    await full(store.invite(me, workspace_id, {f"a{n}": "member" for n in range(31)}), 32)
    await store.board.write(me, workspace_id, "k0", "1")
    await store.mail.send(me, workspace_id, "1", None)
    await store.leases.acquire(me, workspace_id, "Company", "0", seconds=60, token=None)
    big = json.dumps("x" * 65_000)
    async with state.begin() as connection:
        for table, most, of_number in (
            (entries, 255, lambda n: {"key": f"k{n}"}),
            (messages, 200, lambda n: {"id": 1_000 + n}),
            (leases, 128, lambda n: {"record": str(n)}),
        ):
            [row] = (await connection.execute(select(table))).mappings()
            rows = [{**row, **of_number(number)} for number in range(1, most)]
            await connection.execute(insert(table), rows)
    await store.board.write(me, workspace_id, "the last", "1")
    await full(store.board.write(me, workspace_id, "one more", "1"), 256)
    await store.board.write(me, workspace_id, "k1", "2")
    await store.board.write(me, workspace_id, "k1", None)
    await store.board.write(me, workspace_id, "one more", "1")
    async with state.begin() as connection:
        await connection.execute(update(workspaces).values(board_bytes=1_048_576 - 65_100))
    await store.board.write(me, workspace_id, "k2", big)
    await full(store.board.write(me, workspace_id, "k3", big), 1_048_576)
    await store.board.write(me, workspace_id, "k2", "1")
    await store.board.write(me, workspace_id, "k3", big)
    await full(store.mail.send(me, workspace_id, "1", [other.name]), 200)
    await full(
        store.leases.acquire(me, workspace_id, "Company", '"x"', seconds=60, token=None), 128
    )
    async with state.read() as connection:
        changes = await connection.scalar(select(workspaces.c.revision))
    assert told == [workspace_id] * ((changes or 0) - 1), "a creation is no news for anybody"


async def test_changes_are_kept_up_to_a_thousand(state: StateDatabase) -> None:
    store = WorkspaceStore(state, lambda _: None)
    me = Caller.of(agent())
    workspace_id = await store.create(me, "w", {}, DAY)
    async with state.begin() as connection:
        await connection.execute(update(workspaces).values(revision=1_298))
        [row] = (await connection.execute(select(events))).mappings()
        rows = [{**row, "revision": number} for number in range(2, 1_299)]
        await connection.execute(insert(events), rows)

    await store.board.write(me, workspace_id, "k", "1")
    await store.board.write(me, workspace_id, "k", "2")

    found = await store.get(me, workspace_id, since=0, limit=2_000)
    assert [each.revision for each in found.changes] == list(range(301, 1_301))


async def test_an_agent_owns_so_many_workspaces_and_those_that_are_over_go(
    state: StateDatabase,
) -> None:
    store = WorkspaceStore(state, lambda _: None)
    me, other = Caller.of(agent()), Caller.of(agent())
    ids = [await store.create(me, "w", {other.name: "member"}, DAY) for _ in range(50)]
    with pytest.raises(ConflictError, match="50 workspaces"):
        await store.create(me, "w", {}, DAY)
    await store.close(me, ids[0])
    await store.create(me, "w", {}, DAY)

    async with state.begin() as connection:
        await connection.execute(update(workspaces).values(expires_at=0))
    again = WorkspaceStore(state, lambda _: None)
    kept = await again.create(me, "w", {}, DAY)
    async with state.read() as connection:
        left = list((await connection.execute(select(workspaces.c.id))).scalars())
        assert len(left) == 2
        assert kept in left
        for table in PARTS:
            found = (await connection.execute(select(table.c.workspace_id))).scalars()
            assert set(found) <= set(left)
        assert await connection.scalar(select(func.count()).select_from(members)) == 1 + 1


async def test_workspaces_go_as_fast_as_they_are_closed(state: StateDatabase) -> None:
    """Who makes and closes one after the other leaves no more than that behind."""
    store, me = WorkspaceStore(state, lambda _: None), Caller.of(agent())
    await store.create(me, "w", {}, DAY)
    async with state.begin() as connection:
        [row] = (await connection.execute(select(workspaces))).mappings()
        over = [{**row, "id": f"ws_{number}", "expires_at": 0} for number in range(120)]
        await connection.execute(insert(workspaces), over)

    again = WorkspaceStore(state, lambda _: None)
    for _ in range(3):
        await again.create(me, "w", {}, DAY)

    async with state.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(workspaces)) == 4


async def test_the_only_owner_stays(state: StateDatabase) -> None:
    store = WorkspaceStore(state, lambda _: None)
    me, other = Caller.of(agent()), Caller.of(agent())
    workspace_id = await store.create(me, "w", {other.name: "owner"}, DAY)
    for doing in (
        store.leave(me, workspace_id),
        store.invite(me, workspace_id, {me.name: "observer"}),
        store.create(me, "w", {me.name: "member"}, DAY),
    ):
        with pytest.raises(ConflictError, match="needs an owner"):
            await doing
    await store.respond(other, workspace_id, accept=True)
    await store.leave(me, workspace_id)
    with pytest.raises(NotFoundError):
        await store.leave(me, workspace_id)


async def test_an_outage_of_the_database_is_told_as_one(tmp_path: Path) -> None:
    state = StateDatabase(f"sqlite:///{tmp_path / 'gone.db'}")
    await state.prepare(agent_store.TABLES)
    store = AgentSessionStore(state, DAY)
    made = await store.create(owner_digest(agent()), "a", {})
    await state.close()
    (tmp_path / "gone.db").unlink()

    with pytest.raises(ServerError) as raised:
        await store.get(ME, made.id)
    assert raised.value.code == "unavailable"
