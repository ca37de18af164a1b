from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL, Principal
from kailash_mcp_prod.errors import Interruption, NotFoundError, UnavailableError, UnservedError
from kailash_mcp_prod.sessions import agent_sessions
from kailash_mcp_prod.sessions.agent_sessions import AgentSessions
from kailash_mcp_prod.sessions.identity import owner_digest
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.spec import ToolCall

ME = owner_digest(LOCAL)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    found = State(lambda: f"sqlite:///{tmp_path / 'state.db'}")
    yield found
    await found.close()


@pytest.fixture
async def sessions(state: State) -> AsyncIterator[AgentSessions]:
    found = AgentSessions(state, timeout_seconds=60, may_create=True)
    await found.start()
    yield found
    await found.stop()


async def made(sessions: AgentSessions) -> str:
    return (await (await sessions.store()).create(ME, "a", {})).id


async def figures(sessions: AgentSessions, session_id: str) -> tuple[int, int]:
    await sessions.settle(LOCAL, [session_id])
    found = (await (await sessions.store()).get(ME, session_id)).figures
    return found.requests, found.errors


async def test_calls_and_their_errors_are_counted(sessions: AgentSessions) -> None:
    session_id = await made(sessions)
    async with sessions.counting(LOCAL, session_id):
        pass
    for failure in (NotFoundError("no record"), ValueError()):
        with pytest.raises(type(failure)):
            async with sessions.counting(LOCAL, session_id):
                raise failure
    with pytest.raises(Interruption):
        async with sessions.counting(LOCAL, session_id):
            raise Interruption

    assert await figures(sessions, session_id) == (3, 2)


async def test_no_call_waits_for_its_count_to_be_stored_and_none_is_lost_when_it_stops(
    sessions: AgentSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_sessions, "FLUSH_SECONDS", 60)
    session_id = await made(sessions)
    for _ in range(100):
        async with sessions.counting(LOCAL, session_id):
            pass
    found = await (await sessions.store()).get(ME, session_id)
    assert found.figures.requests == 0

    await sessions.stop()
    await sessions.start()

    assert await figures(sessions, session_id) == (100, 0)


async def test_calls_are_counted_once_while_others_ask_and_stop(sessions: AgentSessions) -> None:
    session_id = await made(sessions)

    async def work() -> None:
        for _ in range(20):
            async with sessions.counting(LOCAL, session_id):
                await asyncio.sleep(0)

    async def ask() -> None:
        for _ in range(20):
            asking = asyncio.ensure_future(sessions.settle(LOCAL, [session_id]))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})

    await asyncio.gather(*(work() for _ in range(5)), ask(), ask())
    await sessions.stop()
    await sessions.start()

    assert await figures(sessions, session_id) == (100, 0)


async def test_what_can_not_be_stored_now_is_stored_later(
    sessions: AgentSessions, tmp_path: Path
) -> None:
    session_id = await made(sessions)
    async with sessions.counting(LOCAL, session_id):
        pass
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE mcp_agent_sessions RENAME TO away")
        with pytest.raises(UnavailableError):
            await sessions.flush()
        other.execute("ALTER TABLE away RENAME TO mcp_agent_sessions")

    assert await figures(sessions, session_id) == (1, 0)


async def test_without_the_right_to_make_tables_sessions_are_unavailable(state: State) -> None:
    sessions = AgentSessions(state, timeout_seconds=60, may_create=False)
    await sessions.start()

    with pytest.raises(UnservedError, match="not prepared"):
        await sessions.store()
    await sessions.stop()


async def test_nobody_else_counts_a_call_in_a_session_or_keeps_it_alive(state: State) -> None:
    """Not even by a call that is cancelled before it is known whose the session is."""
    now = 1_000.0
    sessions = AgentSessions(state, timeout_seconds=60, may_create=True, clock=lambda: now)
    await sessions.start()
    session_id = await made(sessions)

    async def cancelled(who: Principal) -> None:
        call = ToolCall(who, {}, "r")
        with pytest.raises(asyncio.CancelledError):
            async with sessions.touching(call, session_id):
                raise asyncio.CancelledError

    await cancelled(ANONYMOUS)
    now += 50
    await cancelled(ANONYMOUS)
    await sessions.flush()
    assert await figures(sessions, session_id) == (0, 0)
    now += 20
    # It is over by now.
    await cancelled(LOCAL)
    await sessions.flush()
    with pytest.raises(NotFoundError):
        await figures(sessions, session_id)
    await sessions.stop()
