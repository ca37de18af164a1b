"""Sessions of agents, whichever replica a call goes to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import text

from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL
from kailash_mcp_prod.errors import ConflictError
from tests.integration.agents.deployments import Deployment, agent, database, eventually, name_of


async def test_a_session_holds_what_its_agent_says(deployment: Deployment) -> None:
    who = agent()
    made = await deployment.call(
        who,
        "create_agent_session",
        agent_id=name_of(who),
        agent_info={
            "name": "Pricing",
            "type": "pricer",
            "model": "large",
            "version": "2",
            "description": "Prices quotes.",
            "capabilities": ["quotes", "prices"],
            "metadata": {"team": {"city": "Köln"}, "nothing": None},
        },
    )

    assert made["session_id"].startswith("as_")
    assert len(made["session_id"]) >= 3 + 128 / 6
    assert made["agent_id"] == name_of(who)
    assert made["capabilities"] == ["quotes", "prices"]
    assert made["metadata"] == {"team": {"city": "Köln"}, "nothing": None}
    assert (made["name"], made["version"]) == ("Pricing", "2")
    assert (made["type"], made["model"]) == ("pricer", "large")
    assert made["expires_at"] > made["last_activity"] >= made["created_at"]
    found = await deployment.call(who, "get_agent_session", session_id=made["session_id"])
    assert found == {**made, "last_activity": found["last_activity"]} | {
        "expires_at": found["expires_at"]
    }


async def test_an_agent_is_who_its_credential_says(deployment: Deployment) -> None:
    refused = await deployment.refused(agent(), "create_agent_session", agent_id="somebody-else")
    assert (refused.code, refused.field) == ("forbidden", "agent_id")
    for without_credential in (LOCAL, ANONYMOUS):
        made = await deployment.call(without_credential, "create_agent_session", agent_id="label")
        assert made["agent_id"] == "label"


async def test_a_context_is_read_and_changed_as_a_whole_or_not_at_all(
    deployment: Deployment,
) -> None:
    who = agent()
    session_id = await deployment.session(who)

    async def update(**arguments: Any) -> dict[str, Any]:
        return await deployment.call(
            who, "update_agent_context", session_id=session_id, **arguments
        )

    async def context() -> dict[str, Any]:
        return await deployment.call(who, "get_agent_context", session_id=session_id)

    assert await context() == {"context": {}, "version": 0}
    await update(set={"a": {"b": [1, 2.5, None, "ü\0"]}, "c": "x"}, expected_version=0)
    assert (await update(set={"d": True}, delete=["c", "never there"]))["version"] == 2
    expected = {"a": {"b": [1, 2.5, None, "ü\0"]}, "d": True}
    assert await context() == {"context": expected, "version": 2}
    refused = await deployment.refused(
        who, "update_agent_context", session_id=session_id, set={"a": 1}, expected_version=1
    )
    assert (refused.code, refused.details) == ("conflict", {"version": 2})
    assert await context() == {"context": expected, "version": 2}


async def test_of_many_who_expect_one_version_one_changes_the_context(
    deployment: Deployment,
) -> None:
    who = agent()
    session_id = await deployment.session(who)

    async def count_up() -> None:
        """Adds one, as often as it takes."""
        while True:
            found = await deployment.call(who, "get_agent_context", session_id=session_id)
            with suppress(ConflictError):
                await deployment.call(
                    who,
                    "update_agent_context",
                    session_id=session_id,
                    set={"n": found["context"].get("n", 0) + 1},
                    expected_version=found["version"],
                )
                return

    await asyncio.gather(*(count_up() for _ in range(8)))

    found = await deployment.call(who, "get_agent_context", session_id=session_id)
    assert found == {"context": {"n": 8}, "version": 8}


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"set": {f"k{n}": n for n in range(129)}}, 128),
        ({"set": {"k": "x" * 65_536}}, 65_536),
        ({"set": {"k": "x" * 40_000}}, 65_536),
    ],
)
async def test_a_context_is_bounded_and_says_by_what(
    deployment: Deployment, change: dict[str, Any], limit: int
) -> None:
    who = agent()
    session_id = await deployment.session(who)
    kept = {"kept": "x" * 40_000}
    await deployment.call(who, "update_agent_context", session_id=session_id, set=kept)
    refused = await deployment.refused(who, "update_agent_context", session_id=session_id, **change)

    assert refused.code in {"invalid_arguments", "conflict"}
    assert str(limit) in refused.message
    assert (refused.details or {})["limit"] == limit
    found = await deployment.call(who, "get_agent_context", session_id=session_id)
    assert found == {"context": kept, "version": 1}


async def test_the_calls_of_a_session_are_counted_wherever_they_went(
    deployment: Deployment,
) -> None:
    who = agent()
    session_id = await deployment.session(who)
    for _ in range(5):
        await deployment.call(who, "Company_list", _session_id=session_id)
    await deployment.call(
        who, "Company_list", _session_id=session_id, _agent_id=name_of(who), limit=1
    )
    replica = deployment.replicas[0]
    with pytest.raises(Exception, match="no Company"):
        await replica.mcp_server.call_tool(
            "Company_read", {"id": "none", "_session_id": session_id}, principal=who
        )

    async def all_counted() -> bool:
        found = await deployment.call(who, "list_agent_sessions")
        [session] = found["sessions"]
        return bool(session["request_count"] == 7 and session["error_count"] == 1)

    await eventually(all_counted)
    found = await deployment.call(who, "get_agent_session", session_id=session_id)
    assert found["slowest_response_time_ms"] >= found["average_response_time_ms"] > 0
    assert found["last_activity"] > found["created_at"]


async def test_a_session_may_be_named_on_every_surface(deployment: Deployment) -> None:
    who = agent()
    session_id = await deployment.session(who)
    server = deployment.replicas[0]

    async def on(surface: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        loop = server.mcp_server.loop
        calling = server.service.call(who, name, arguments, request_id="r", surface=surface)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(calling, loop))

    inner = {"name": "Company_list", "arguments": {"_session_id": session_id}}
    await on("search", "call_tool", inner)
    await on("compact", "find_records", {"model": "Company", "_session_id": session_id})
    found = await server.mcp_server.call_tool(
        "get_agent_session", {"session_id": session_id}, principal=who
    )
    assert found["request_count"] == 2
    with pytest.raises(Exception, match="two different sessions"):
        await on("search", "call_tool", {**inner, "_session_id": "as_other"})


async def test_sessions_are_listed_page_by_page_until_they_end(deployment: Deployment) -> None:
    who = agent()
    made = [await deployment.session(who) for _ in range(5)]

    pages, after = [], {}
    while True:
        page = await deployment.call(who, "list_agent_sessions", limit=2, **after)
        pages.append([each["session_id"] for each in page["sessions"]])
        if "next" not in page:
            break
        after = {"after": page["next"]}

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(chain.from_iterable(pages)) == sorted(made)
    ended = await deployment.call(who, "end_agent_session", session_id=made[0])
    assert ended["ended"] is True
    assert (await deployment.call(who, "list_agent_sessions"))["count"] == 4
    for tool, argument in (
        ("get_agent_session", "session_id"),
        ("end_agent_session", "session_id"),
        ("Company_list", "_session_id"),
    ):
        assert (await deployment.refused(who, tool, **{argument: made[0]})).code == "not_found"


async def test_a_change_of_a_context_changes_something(deployment: Deployment) -> None:
    who = agent()
    session_id = await deployment.session(who)
    refused = await deployment.refused(who, "update_agent_context", session_id=session_id, set={})

    assert (refused.code, refused.field) == ("invalid_arguments", "set")
    found = await deployment.call(who, "get_agent_context", session_id=session_id)
    assert found["version"] == 0


CHANGE: dict[str, dict[str, Any]] = {"update_agent_context": {"set": {"a": 1}}}
"""What a tool needs besides a session."""


async def test_an_idle_session_is_gone(deployment: Deployment) -> None:
    who = agent()
    session_id = await deployment.session(who)
    with database(deployment) as connection:
        connection.execute(
            text("UPDATE mcp_agent_sessions SET active_at = active_at - 3601 WHERE id = :id"),
            {"id": session_id},
        )

    for tool, argument in (
        ("get_agent_session", "session_id"),
        ("update_agent_context", "session_id"),
        ("Company_list", "_session_id"),
    ):
        given = {argument: session_id, **CHANGE.get(tool, {})}
        assert (await deployment.refused(who, tool, **given)).code == "not_found"
    assert (await deployment.call(who, "list_agent_sessions"))["count"] == 0


async def test_what_is_stored_of_a_session_names_no_credential(deployment: Deployment) -> None:
    who = replace(agent(), claims=MappingProxyType({"department": "secret-department"}))
    session_id = await deployment.session(who)
    with database(deployment) as connection:
        row = connection.execute(
            text("SELECT * FROM mcp_agent_sessions WHERE id = :id"), {"id": session_id}
        ).one()

    assert "secret-department" not in str(row)
    assert who.subject not in str(row)


async def test_another_token_of_the_same_agent_that_reaches_less_has_not_its_sessions(
    deployment: Deployment,
) -> None:
    who = replace(agent(), claims=MappingProxyType({"iat": 1, "exp": 2}))
    session_id = await deployment.session(who)
    for other in (
        replace(who, permissions=frozenset({"session:*"})),
        replace(who, tenant="acme"),
        replace(who, read_only=True),
        replace(who, claims=MappingProxyType({"department": "sales"})),
    ):
        refused = await deployment.refused(other, "get_agent_session", session_id=session_id)
        assert refused.code == "not_found"
    again = replace(who, claims=MappingProxyType({"iat": 3, "exp": 4}))
    assert await deployment.call(again, "get_agent_session", session_id=session_id)


async def test_a_session_that_is_not_the_callers_is_as_unknown_as_none(
    deployment: Deployment,
) -> None:
    owner, other = agent(), agent()
    session_id = await deployment.session(owner)
    for tool, argument in (
        ("get_agent_session", "session_id"),
        ("get_agent_context", "session_id"),
        ("update_agent_context", "session_id"),
        ("end_agent_session", "session_id"),
        ("list_agent_sessions", "after"),
        ("Company_list", "_session_id"),
        ("create_agent_session", "_session_id"),
    ):
        more = CHANGE.get(tool, {})
        foreign = await deployment.refused(other, tool, **{argument: session_id}, **more)
        unknown = await deployment.refused(other, tool, **{argument: "as_" + "x" * 32}, **more)
        odd = await deployment.refused(other, tool, **{argument: "\0\ud800" * 100}, **more)
        said = {(each.code, each.message, each.field) for each in (foreign, unknown, odd)}
        assert len(said) == 1
        assert foreign.code == "not_found"
    assert (await deployment.call(owner, "get_agent_session", session_id=session_id))[
        "error_count"
    ] == 0
