"""What goes wrong below reaches the caller as one of our errors, with nothing of its text."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest

from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from tests.integration.records.trap_app import Json, TrapApp, running_trap_app
from tests.integration.records.trap_values import BASE
from tests.postgres import running_postgres

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEAKS = re.compile(
    r"sqlite|postgres|asyncpg|psycopg|dataflow|kailash|sqlalchemy|traceback|pydantic|\bnode"
    r"|\bsql\b|\bselect\b.*\bfrom\b|\binsert\b|\bwhere\b|\bconstraint\b|\btable\b|\bcolumn"
    r"|\brelation\b|uq_trap|trap_[a-z]+|_pkey|detail:|hint:|failing row|DF-\d|127\.0\.0\.1"
    r"|(?<!\w)/\w+/|\x1b|[\U0001f300-\U0001faff❌✅]",
    re.IGNORECASE,
)


def assert_nothing_leaks(error: ServerError) -> None:
    body = str({**error.to_dict("r"), "request_id": None})
    assert not LEAKS.search(body), body


async def test_no_error_shows_what_lies_below(app: TrapApp) -> None:
    secret = "other-record-secret"
    await app.call(
        "TrapSeat",
        "create",
        data={"id": "x", "row": secret, "number": 1, "code": secret, "guest": secret},
    )
    place = {"row": secret, "number": 1}
    calls: list[tuple[str, str, Json, type[ServerError]]] = [
        ("TrapSeat", "create", {"data": place}, ConflictError),
        ("TrapSeat", "create", {"data": {**place, "number": 2, "code": secret}}, ConflictError),
        ("TrapSeat", "create", {"data": {**place, "number": 2, "id": "x"}}, ConflictError),
        ("TrapSeat", "bulk_create", {"data": [place]}, ConflictError),
        ("TrapSeat", "upsert", {"data": place}, ConflictError),
        ("TrapSeat", "bulk_upsert", {"data": [place]}, ConflictError),
        ("TrapSeat", "read", {"id": "nope"}, NotFoundError),
        ("TrapSeat", "update", {"id": "nope", "data": {"guest": "g"}}, NotFoundError),
        (
            "TrapSeat",
            "update",
            {"id": "x", "data": {"guest": "g"}, "expected": {"guest": "g"}},
            ConflictError,
        ),
        ("TrapSeat", "list", {"filter": {"nope": 1}}, InvalidArgumentsError),
        ("TrapSeat", "list", {"filter": {"row": {"$regex": "x"}}}, InvalidArgumentsError),
        ("TrapSample", "create", {"data": {**BASE, "whole": "x"}}, InvalidArgumentsError),
        ("TrapSample", "create", {"data": {}}, InvalidArgumentsError),
        ("TrapCounter", "read", {"id": "x"}, InvalidArgumentsError),
    ]
    for model, operation, arguments, kind in calls:
        error = await app.refusal(model, operation, **arguments)

        assert isinstance(error, kind), (operation, arguments)
        assert_nothing_leaks(error)
        assert secret not in str(error.to_dict("r"))


@contextmanager
def renamed(app: TrapApp, table: str) -> Iterator[None]:
    app.tables.execute(f'ALTER TABLE "{table}" RENAME TO "away"')
    try:
        yield
    finally:
        app.tables.execute(f'ALTER TABLE "away" RENAME TO "{table}"')


ONE_CALL_EACH: list[tuple[str, Json]] = [
    ("create", {"data": {"row": "a", "number": 1}}),
    ("read", {"id": "x"}),
    ("update", {"id": "x", "data": {"guest": "g"}}),
    ("delete", {"id": "x"}),
    ("list", {}),
    ("list", {"filter": {"guest": {"$ilike": "x"}}, "sort": ["guest"]}),
    ("count", {}),
    ("aggregate", {}),
    ("aggregate", {"group_by": ["guest"]}),
    ("upsert", {"data": {"row": "a", "number": 1}}),
    ("bulk_create", {"data": [{"row": "a", "number": 1}]}),
    ("bulk_update", {"data": [{"id": "x", "guest": "g"}]}),
    ("bulk_update", {"filter": {"id": "x"}, "data": {"guest": "g"}}),
    ("bulk_delete", {"ids": ["x"]}),
    ("bulk_upsert", {"data": [{"row": "a", "number": 1}]}),
]


async def failure(app: TrapApp, model: str, operation: str, arguments: Json) -> ServerError:
    with pytest.raises(ServerError) as caught:
        await app.call(model, operation, **arguments)
    return caught.value


async def test_a_defect_below_is_an_internal_error_and_the_log_has_the_cause(
    app: TrapApp, caplog: pytest.LogCaptureFixture
) -> None:
    with renamed(app, "trap_seats"):
        for operation, arguments in ONE_CALL_EACH:
            caplog.clear()
            error = await failure(app, "TrapSeat", operation, arguments)

            assert isinstance(error, InternalError), operation
            assert not error.retryable
            assert_nothing_leaks(error)
            records = [each for each in caplog.records if each.name.startswith("kailash_mcp_prod")]
            assert [each.levelno for each in records] == [logging.ERROR]
            assert records[0].exc_info is not None
            assert "trap_seats" in str(records[0].exc_info[1])
    assert await app.call("TrapSeat", "count") == {"count": 0}


async def test_a_stored_value_that_a_type_can_not_mean_is_an_internal_error(app: TrapApp) -> None:
    await app.call("TrapOption", "create", data={"id": "x", "amount": "1", "day": "2026-03-01"})
    for column, value in [("amount", "a lot"), ("day", "31.12.2026"), ("token", "none")]:
        app.tables.execute(f"UPDATE trap_options SET {column} = '{value}'")
        error = await failure(app, "TrapOption", "read", {"id": "x"})

        assert isinstance(error, InternalError)
        assert value not in str(error.to_dict("r"))
        app.tables.execute(f"UPDATE trap_options SET {column} = NULL")
    assert (await app.call("TrapOption", "read", id="x"))["amount"] is None


async def test_a_member_that_an_enumeration_has_lost_is_still_read(app: TrapApp) -> None:
    await app.call("TrapOption", "bulk_create", data=[{"id": "x", "rank": 9}, {"id": "y"}])
    app.tables.execute("UPDATE trap_options SET colour = 'violet', rank = 77 WHERE id = 'x'")
    await app.call("TrapOption", "create", data={"id": "z", "colour": "red", "rank": 10})

    read = await app.call("TrapOption", "read", id="x")
    assert (read["colour"], read["rank"]) == ("violet", "77")
    for sort in (["colour"], ["-rank"]):
        listed = await app.call("TrapOption", "list", sort=sort)
        assert {each["id"] for each in listed["records"]} == {"x", "y", "z"}
        assert listed["records"][-1]["id"] == "y"


async def test_a_value_that_an_outsider_stored_with_an_offset_is_the_same_instant(
    app: TrapApp,
) -> None:
    moments = {"sqlite": "2026-03-01 11:30:00+02:00", "postgresql": "2026-03-01 09:30:00"}
    await app.call("TrapOption", "create", data={"id": "x"})
    app.tables.execute(f"UPDATE trap_options SET moment = '{moments[app.dialect]}'")

    assert (await app.call("TrapOption", "read", id="x"))["moment"] == "2026-03-01T09:30:00+00:00"


async def test_a_locked_sqlite_file_is_unavailable_and_worth_a_retry(sqlite_url: str) -> None:
    async with running_trap_app(sqlite_url) as app:
        await app.call("TrapPlain", "create", data={"label": "x"})
        threads = set(threading.enumerate())
        app.tables.execute("BEGIN IMMEDIATE")
        error = await failure(app, "TrapPlain", "create", {"data": {"label": "y"}})
        app.tables.execute("ROLLBACK")

        assert isinstance(error, UnavailableError)
        assert (error.retryable, error.retry_after_seconds) == (True, 1)
        assert_nothing_leaks(error)
        assert (await app.call("TrapPlain", "create", data={"label": "y"}))["label"] == "y"
        assert await app.call("TrapPlain", "count") == {"count": 2}
        for thread in set(threading.enumerate()) - threads:
            if thread.name.startswith("sqlite-"):
                # One of the few that serve all calls; closing the store ends it.
                continue
            # A connection that nobody closed would keep the process from ending.
            thread.join(5)
            assert not thread.is_alive()


async def test_a_sqlite_file_that_is_gone_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    directory.mkdir()
    async with running_trap_app(f"sqlite:///{directory / 'trap.db'}") as app:
        await app.call("TrapSeat", "create", data={"row": "a", "number": 7})
        app.tables.close()
        away = directory.rename(tmp_path / "away")
        for operation, arguments in ONE_CALL_EACH:
            error = await failure(app, "TrapSeat", operation, arguments)

            assert isinstance(error, UnavailableError), operation
            assert_nothing_leaks(error)
        with pytest.raises(UnavailableError):
            await app.store.ping()
        away.rename(directory)

        assert await app.call("TrapSeat", "count") == {"count": 1}
        await app.store.ping()


def terminate_connections(url: str) -> int:
    """End every other connection to a database; how many there were."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            [count] = cursor.fetchone()
            return int(count)
    finally:
        connection.close()


async def test_the_store_recovers_when_postgresql_ends_its_connections(postgres_url: str) -> None:
    async with running_trap_app(postgres_url) as app:
        await asyncio.gather(
            *(app.call("TrapPlain", "create", data={"label": f"{n}"}) for n in range(20))
        )
        app.tables.close()
        assert terminate_connections(postgres_url) > 1

        outcomes = await asyncio.gather(
            *(app.call("TrapPlain", "list") for _ in range(40)), return_exceptions=True
        )
        assert all(isinstance(each, dict | UnavailableError) for each in outcomes)
        for _ in range(20):
            assert (await app.call("TrapPlain", "list"))["count"] == 20


def terminate_waiting_writer(url: str) -> None:
    """Wait until a connection waits for a lock, and end it."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        ended = 0
        while not ended:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            [ended] = cursor.fetchone()
    connection.close()


async def test_a_write_whose_connection_is_ended_is_unavailable_and_changes_nothing(
    postgres_url: str,
) -> None:
    async with running_trap_app(postgres_url) as app:
        made = await app.call("TrapCounter", "create", data={"label": "x"})
        holder = psycopg2.connect(postgres_url)
        with holder.cursor() as cursor:
            cursor.execute("SELECT 1 FROM trap_counters FOR UPDATE")
            change = {"id": made["id"], "data": {"value": 5}}
            writer = asyncio.create_task(failure(app, "TrapCounter", "update", change))
            async with asyncio.timeout(20):
                await asyncio.to_thread(terminate_waiting_writer, postgres_url)
            error = await asyncio.wait_for(writer, 10)
        holder.close()

        assert isinstance(error, UnavailableError)
        assert_nothing_leaks(error)
        assert await app.call("TrapCounter", "read", id=made["id"]) == made
        assert (await app.call("TrapCounter", "update", **change))["value"] == 5


async def test_a_stopped_server_is_unavailable_and_worth_a_retry() -> None:
    with ExitStack() as running:
        server = running.enter_context(running_postgres())
        async with running_trap_app(server.url("postgres")) as app:
            await app.call("TrapSeat", "create", data={"id": "x", "row": "a", "number": 7})
            app.tables.close()
            running.close()
            for operation, arguments in ONE_CALL_EACH:
                error = await failure(app, "TrapSeat", operation, arguments)

                assert isinstance(error, UnavailableError), operation
                assert error.retryable
                assert_nothing_leaks(error)
            with pytest.raises(UnavailableError):
                await app.store.ping()


async def test_a_cancelled_call_frees_its_connection(app: TrapApp) -> None:
    for _ in range(3):
        calls = [
            asyncio.create_task(app.call("TrapPlain", "create", data={"label": f"{n}"}))
            for n in range(40)
        ]
        await calls[0]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    before = len(app.tables.rows("TrapPlain"))

    await asyncio.gather(
        *(app.call("TrapPlain", "create", data={"label": f"{n}"}) for n in range(40))
    )

    assert await app.call("TrapPlain", "count") == {"count": before + 40}
