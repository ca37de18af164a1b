"""The audit of real servers: one on SQLite, two replicas on PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import DatabaseStartupError, ServerError, UnavailableError
from kailash_mcp_prod.observe import audit_writing
from kailash_mcp_prod.observe.audit_chain import PRUNED, AuditSeals
from kailash_mcp_prod.observe.audit_reading import AuditFilter, AuditReader
from kailash_mcp_prod.observe.audit_store import AuditTrail
from kailash_mcp_prod.observe.audit_verification import Verification, Verifier
from kailash_mcp_prod.server import ProductionMCPServer
from tests.integration.agents.deployments import eventually
from tests.integration.workflows.workflow_world import World, create, running
from tests.postgres import PostgresServer

SECRET = "a-secret-that-only-this-test-has-and-knows"
WRITER = Principal("jwt:writer", frozenset({"*"}), method="jwt", tenant="t1")
READER = Principal("jwt:reader", frozenset({"Item:read"}), method="jwt")


@asynccontextmanager
async def world_of(url: str, **settings: Any) -> AsyncIterator[World]:
    urls = [url] if url.startswith("sqlite") else [url, url]
    async with running(urls, jwt_secret=SECRET, **settings) as world:
        yield world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_of(database_url) as found:
        yield found


async def entries(world: World, **wanted: Any) -> list[dict[str, Any]]:
    """The entries that pass a filter, the oldest first."""
    reader = await world.servers[0].audit.reader()
    page = await reader.find(AuditFilter(**wanted), 1000)
    assert page.before is None
    return [dict(each.facts) for each in reversed(page.entries)]


async def verified(world: World) -> Verification:
    return await holds(await world.servers[0].audit.reader())


async def holds(reader: AuditReader) -> Verification:
    head = await reader.head()
    assert head is not None
    verifier = Verifier(AuditSeals.of(SECRET.encode()), head.base_seq)
    async for row in reader.rows(head.base_seq, head.seq):
        verifier.look_at(row)
    return verifier.finish(head.seq, head.hash)


async def refused(world: World, tool: str, by: Principal = WRITER, **arguments: Any) -> str:
    with pytest.raises(ServerError) as raised:
        await world.call(tool, by, **arguments)
    return raised.value.code


async def test_known_traffic_is_found_entry_by_entry(world: World) -> None:
    by = WRITER
    await world.call("Item_create", by, data={"id": "a", "name": "A", "note": "n"})
    await world.call("Item_create", by, data={"id": "b", "name": "B"}, _idempotency_key="k-1")
    await world.call("Item_create", by, data={"id": "b", "name": "B"}, _idempotency_key="k-1")
    await world.call("Item_update", by, id="a", data={"amount": 5})
    await world.call("Item_read", by, id="a")
    await world.call("Item_list", by)
    await world.call("Item_delete", by, id="b")
    await world.call(
        "Item_bulk_create", by, data=[{"id": "c", "name": "C"}, {"id": "d", "name": ""}]
    )
    await world.call("Item_bulk_update", by, filter={"name": "C"}, data={"note": "x"})
    assert await refused(world, "Item_create", data={"id": "a", "name": "A"}) == "conflict"
    assert await refused(world, "Item_update", id="z", data={"note": "x"}) == "not_found"
    assert await refused(world, "Item_create", data={"nome": "x"}) == "invalid_arguments"
    assert await refused(world, "Item_read", id="z") == "not_found"
    assert await refused(world, "Item_nothing") == "not_found"
    session = await world.call("create_agent_session", by)

    found = await entries(world, agent="writer")
    short = [(each["tool"], each["outcome"], each.get("ids"), each.get("fields")) for each in found]
    assert short == [
        ("Item_create", "ok", ["a"], ["name", "note"]),
        ("Item_create", "ok", ["b"], ["name"]),
        ("Item_create", "ok", ["b"], ["name"]),
        ("Item_update", "ok", ["a"], ["amount"]),
        ("Item_delete", "ok", ["b"], None),
        ("Item_bulk_create", "ok", ["c", "d"], ["name"]),
        ("Item_bulk_update", "ok", ["c"], ["note"]),
        ("Item_create", "conflict", ["a"], ["name"]),
        ("Item_update", "not_found", ["z"], ["note"]),
        ("Item_create", "invalid_arguments", None, ["nome"]),
        ("create_agent_session", "ok", [session["session_id"]], None),
    ]
    assert [each.get("repeated", False) for each in found[:4]] == [False, False, True, False]
    assert found[1]["key"] == found[2]["key"] != "k-1"
    first = found[0]
    assert (first["model"], first["operation"], first["tenant"]) == ("Item", "create", "t1")
    assert first["method"] == "jwt"
    assert abs(first["at"] - time.time()) < 60
    assert "values" not in first
    assert [each["ids"] for each in await entries(world, target="c", outcome="ok")] == [
        ["c", "d"],
        ["c"],
    ]
    assert await entries(world, request_id=first["request_id"]) == [first]
    assert await entries(world, since=time.time() + 60) == []
    check = await verified(world)
    assert (check.holds, check.count, check.sealed) == (True, len(found), len(found))


async def test_what_is_denied_is_an_entry_and_repeated_denials_are_one_more(world: World) -> None:
    for _ in range(20):
        assert await refused(world, "Item_create", READER, data={"name": "x"}) == "not_found"
    assert await refused(world, "Item_create", READER, id="secret") == "not_found"
    for server in world.servers:
        server.audit._denials.tell()

    async def all_told() -> bool:
        told = await entries(world, agent="reader")
        return sum(each.get("count", 1) for each in told) == 21

    await eventually(all_told)
    found = await entries(world, agent="reader")
    assert len(found) == 2 * len(world.servers)
    assert {(each["outcome"], each["answered"], each["denied"]) for each in found} == {
        ("forbidden", "not_found", True)
    }
    assert {each["tool"] for each in found} == {"Item_create"}


async def test_the_parts_of_a_transaction_are_entries_once_it_is_stored(world: World) -> None:
    session = await world.begin(WRITER)
    whole = {"atomic": True, "steps": [{"step_name": n, **create(n)} for n in ("p", "q")]}
    broken = {
        "atomic": True,
        "steps": [
            {"step_name": "p", **create("r", id="same")},
            {"step_name": "q", **create("s", id="same")},
        ],
    }
    await world.step(session, "whole", whole, WRITER)
    with pytest.raises(ServerError):
        await world.step(session, "broken", broken, WRITER)

    found = await entries(world, agent="writer")
    assert [(each["tool"], each["outcome"], each.get("part", False)) for each in found] == [
        ("create_agent_workflow_session", "ok", False),
        ("Item_create", "ok", True),
        ("Item_create", "ok", True),
        ("execute_workflow_step", "ok", False),
        ("atomic", "conflict", True),
        ("execute_workflow_step", "conflict", False),
    ]
    assert len({each["request_id"] for each in found[1:4]}) == 1
    assert session in found[3]["ids"]


async def test_replicas_that_write_at_once_write_one_chain(world: World) -> None:
    await asyncio.gather(
        *(
            server.mcp_server.call_tool(
                "Item_create", {"data": {"name": f"n{number}"}}, principal=WRITER
            )
            for number in range(150)
            for server in world.servers
        )
    )
    check = await verified(world)

    assert check.holds, check.breaks
    assert check.count == 150 * len(world.servers)
    assert len(await entries(world, tool="Item_create")) == check.count


async def test_values_are_kept_when_asked_for_and_some_never(database_url: str) -> None:
    hidden = {"Item": {"hide": ["note"], "except_roles": ["boss"]}}
    settings = {"audit_values": True, "audit_mask_fields": "amount", "access_rules": hidden}
    boss = Principal("jwt:boss", frozenset({"*"}), roles=frozenset({"boss"}))
    async with world_of(database_url, **settings) as world:
        await world.call("Item_create", boss, data={"name": "A", "note": "n"})
        await world.call("Item_bulk_create", boss, data=[{"name": "B", "amount": 7}])
        query = {"$or": [{"name": "A"}, {"amount": {"$gt": 5}}]}
        await world.call("Item_bulk_update", boss, filter=query, data={"note": "secret"})
        await world.call("Item_create", boss, data={"name": "x" * 20_000})
        found = await entries(world, agent="boss")

    assert found[0]["values"] == {"data": {"name": "A", "note": "***"}}
    assert found[1]["values"] == {"data": [{"name": "B", "amount": "***"}]}
    assert found[2]["values"] == {
        "data": {"note": "***"},
        "filter": {"$or": [{"name": "A"}, {"amount": "***"}]},
    }
    assert found[3]["values_left_out"].endswith("bytes")


async def test_texts_that_a_database_does_not_take_are_kept_as_far_as_it_does(
    world: World,
) -> None:
    for hostile in ("a\x00b", "\ud800", "=1+1", "x" * 1000, "line\nbreak", "' OR 1=1"):
        await refused(world, "Item_update", id=hostile, data={hostile: 1})
    found = await entries(world, agent="writer")

    assert len(found) == 6
    assert found[0]["ids"] == ["a\ufffdb"]
    assert found[3]["ids"] == ["x" * 255]
    assert (await verified(world)).holds


async def test_an_entry_can_t_be_changed_or_removed(world: World, database_url: str) -> None:
    await world.call("Item_create", WRITER, data={"name": "A"})
    for statement in (
        "UPDATE mcp_audit SET who = 'nobody'",
        "DELETE FROM mcp_audit",
        "DELETE FROM mcp_audit_head",
    ):
        with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="never"):
            await execute(database_url, statement)

    assert len(await entries(world)) == 1


async def execute(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(statement)
        return
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_old_entries_are_pruned_and_the_rest_still_holds(world: World) -> None:
    for number in range(5):
        await world.call("Item_create", WRITER, data={"name": f"old {number}"})
    after = time.time()
    await world.call("Item_create", WRITER, data={"name": "new"})
    trail = trail_of(world.servers[0])
    assert await trail.prune(after) == 5
    assert await trail.prune(after) == 5
    await world.call("Item_create", WRITER, data={"name": "newer"})
    check = await verified(world)

    assert check.holds, check.breaks
    assert (check.first, check.last, check.pruned) == (6, 8, 5)
    assert [each["tool"] for each in await entries(world)] == ["Item_create", PRUNED, "Item_create"]
    assert await trail.prune(time.time() + 60) == 8
    assert (await verified(world)).holds


def trail_of(server: ProductionMCPServer) -> AuditTrail:
    trail = server.audit._trail
    assert trail is not None
    return trail


async def test_a_batch_whose_storing_was_not_answered_for_is_stored_once(world: World) -> None:
    await world.call("Item_create", WRITER, data={"name": "A"})
    trail = trail_of(world.servers[0])
    store = trail._store
    stored = store.chain

    async def lose_the_answer(*given: Any) -> None:
        await stored(*given)
        store.chain = stored  # type: ignore[method-assign]
        raise UnavailableError("The connection was lost.", details={"outcome": "unknown"})

    store.chain = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(UnavailableError) as raised:
        await world.servers[0].mcp_server.call_tool(
            "Item_create", {"data": {"name": "B"}}, principal=WRITER
        )
    assert raised.value.details == {"outcome": "done"}
    assert not raised.value.retryable
    await world.servers[0].mcp_server.call_tool(
        "Item_create", {"data": {"name": "C"}}, principal=WRITER
    )

    assert len(await entries(world)) == 3
    assert (await verified(world)).holds


async def test_a_database_that_was_away_gets_the_entries_when_it_is_back(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server.database() as url:
        async with running([url], jwt_secret=SECRET) as world:
            [server] = world.servers
            await world.call("Item_create", WRITER, data={"name": "A"})
            await execute(url, "ALTER TABLE mcp_audit RENAME TO away")
            with pytest.raises(UnavailableError) as raised:
                await world.call("Item_create", WRITER, data={"id": "b", "name": "B"})
            assert raised.value.details == {"outcome": "done"}
            assert server.audit.components()["audit"] == {"status": "unhealthy", "waiting": 1}
            monkeypatch.setattr(audit_writing, "MAX_WAITING", 1)
            with pytest.raises(UnavailableError, match="Nothing was changed"):
                await world.call("Item_create", WRITER, data={"id": "c", "name": "C"})
            monkeypatch.undo()
            await execute(url, "ALTER TABLE away RENAME TO mcp_audit")
            await world.call("Item_create", WRITER, data={"id": "d", "name": "D"})
            assert server.audit.components() == {}
            found = await entries(world, outcome="ok")

            assert [each["ids"] for each in found[1:]] == [["b"], ["d"]]
            assert await world.names() == ["A", "B", "D"]


async def test_refused_credentials_are_entries_without_any_of_the_credential(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    key = {"a-key-of-more-than-16-characters": {"permissions": ["*"]}}
    async with running([url], enable_auth=True, auth_type="api_key", api_keys=key) as world:
        [server] = world.servers
        wrong = "kmp_wrong_key_that_nobody_gave_out"
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                answer = await client.get(f"{server.rest_url}/tools", headers={"X-API-Key": wrong})
                assert answer.status_code == 401
            answer = await client.post(f"{server.mcp_url}", json={})
            assert answer.status_code == 401
        server.audit._denials.tell()

        async def all_told() -> bool:
            return len(await entries(world)) == 3

        await eventually(all_told)
        found = await entries(world)

    told = [(each["who"], each["outcome"], each["transport"], each.get("count")) for each in found]
    assert sorted(told, key=str) == [
        ("unauthenticated", "unauthenticated", "http", None),
        ("unauthenticated", "unauthenticated", "rest", 2),
        ("unauthenticated", "unauthenticated", "rest", None),
    ]
    assert "kmp_wrong" not in (tmp_path / "a.db").read_bytes().decode("latin-1")


async def test_without_an_audit_nothing_is_kept(sqlite_url: str) -> None:
    async with world_of(sqlite_url, enable_audit=False) as world:
        await world.call("Item_create", WRITER, data={"name": "A"})
        await world.servers[0].audit.note(WRITER, "dashboard_end_session", ids=["s1"])
        assert await entries(world) == []
        path = sqlite_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "mcp_audit" not in tables


async def test_other_ways_to_do_things_are_noted_too(sqlite_url: str) -> None:
    async with world_of(sqlite_url) as world:
        await world.servers[0].audit.note(
            WRITER, "dashboard_end_session", ids=["s1"], request_id="r9", reason="asked"
        )
        [found] = await entries(world)
    assert (found["who"], found["tool"], found["ids"]) == (
        "jwt:writer",
        "dashboard_end_session",
        ["s1"],
    )
    assert (found["request_id"], found["reason"]) == ("r9", "asked")


async def test_a_database_user_who_can_t_keep_the_audit_is_noticed_at_the_start(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.database() as url:
        async with running([url]) as world:
            await world.call("Item_create", WRITER, data={"id": "a", "name": "A"})
        await execute(
            url,
            "CREATE ROLE looker LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker",
        )
        looking = url.replace("postgres@", "looker@")
        settings = {"auto_migrate": False}
        try:
            with pytest.raises(DatabaseStartupError, match="Grant it SELECT and INSERT"):
                async with running([looking], **settings):
                    pass
            async with running([looking], read_only=True, **settings) as world:
                assert await world.names() == ["A"]
                assert await refused(world, "Item_create", data={"name": "B"}) == "not_found"
        finally:
            await execute(url, "DROP OWNED BY looker; DROP ROLE looker")
    with postgres_server.database() as url:
        async with running([url], enable_audit=False) as world:
            await world.names()
        with pytest.raises(DatabaseStartupError, match="lacks the tables of the audit"):
            async with running([url], auto_migrate=False):
                pass
