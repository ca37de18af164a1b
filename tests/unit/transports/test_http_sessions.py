"""Sessions that a client brings along from another process."""

from __future__ import annotations

from kailash_mcp_prod.transports.session_ids import SessionIds
from tests.unit.transports.conftest import INITIALIZE, rpc, serving

ALICE = {"x-api-key": "alice-key"}
BOB = {"x-api-key": "bob-key"}
SECRET = b"a secret of all replicas, long enough"


def ids() -> SessionIds:
    return SessionIds(SECRET)


async def test_a_session_goes_on_in_another_process() -> None:
    async with serving(session_ids=ids()) as one, serving(session_ids=ids()) as other:
        session = await one.open_session("2025-06-18")
        answer = await other.legacy(session, "tools/call", name="add", arguments={"a": 1, "b": 2})
        assert answer.json()["result"]["structuredContent"] == {"sum": 3}
        assert other.app.open_sessions == 1

        # It is initialized, in its revision, and of its owner.
        again = await other.post(rpc("initialize", **INITIALIZE), session)
        assert again.headers["mcp-session-id"] != session["mcp-session-id"]
        del session["mcp-protocol-version"]
        assert (await other.post([rpc("ping")], session)).status_code == 400


async def test_a_session_does_not_go_on_without_the_secret_or_for_somebody_else() -> None:
    async with serving(session_ids=ids()) as one, serving() as stranger:
        session = await one.open_session(headers=ALICE)
        assert (await stranger.legacy(session, "ping")).status_code == 404
    async with serving(session_ids=ids()) as other:
        assert (await other.legacy({**session, **BOB}, "ping")).status_code == 404
        assert (await other.legacy(session, "ping")).status_code == 200


async def test_a_session_that_has_ended_here_is_not_taken_up_again() -> None:
    now = 0.0
    async with (
        serving(session_ids=ids()) as one,
        serving(session_ids=ids(), session_idle_seconds=10, clock=lambda: now) as other,
    ):
        ended, idle = await one.open_session(), await one.open_session()
        assert (await other.http.delete("/mcp", headers=ended)).status_code == 204
        assert (await other.legacy(ended, "ping")).status_code == 404
        assert (await other.legacy(idle, "ping")).status_code == 200
        now = 11.0
        assert (await other.legacy(idle, "ping")).status_code == 404
        assert (await other.legacy(idle, "ping")).status_code == 404


async def test_a_full_process_takes_no_session_up() -> None:
    async with serving(session_ids=ids()) as one:
        session = await one.open_session()
    async with serving(session_ids=ids(), max_sessions=1) as other:
        own = await other.open_session()
        refused = await other.legacy(session, "ping")
        assert refused.status_code == 503
        assert (await other.legacy(own, "ping")).status_code == 200


async def test_the_events_of_two_processes_are_told_apart() -> None:
    async with serving(session_ids=ids()) as one, serving(session_ids=ids()) as other:
        session = await one.open_session()
        streams = []
        for web in (one, other):
            await web.legacy(session, "ping")
            (known,) = web.app._sessions._sessions.values()
            streams.append(known.logs.new(carries_answer=True).event_id(1))
        assert streams[0] != streams[1]
