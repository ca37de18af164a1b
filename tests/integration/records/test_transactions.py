"""A transaction of several operations is stored as a whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from kailash_mcp_prod.errors import (
    ConflictError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Row
from kailash_mcp_prod.records.query import Query
from kailash_mcp_prod.records.store import Records
from tests.integration.records.trap_app import TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


class GivenUpError(Exception):
    """What a block of a test raises of its own accord."""


def seat(app: TrapApp, number: int, **more: Any) -> Row:
    return app.models["TrapSeat"].complete({"row": "a", "number": number, **more})


def counter(app: TrapApp, label: str) -> Row:
    return app.models["TrapCounter"].complete({"label": label})


def counts(app: TrapApp) -> tuple[int, int]:
    """How many seats and counters an outsider sees."""
    return len(app.tables.rows("TrapSeat")), len(app.tables.rows("TrapCounter"))


def complaints(app: TrapApp, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error, by a driver too that was given back a connection in disorder.

    DataFlow leaves it to the driver to undo what was cancelled while it began.
    """
    return [
        each.getMessage()
        for each in caplog.records
        if each.levelno >= logging.ERROR and (app.execution == "sql" or each.name != "asyncio")
    ]


async def works_on(app: TrapApp) -> bool:
    """Whether the store still takes more writes at once than it has connections."""
    made = await asyncio.gather(
        *(app.call("TrapPlain", "create", data={"label": f"{n}"}) for n in range(40))
    )
    return len({each["id"] for each in made}) == 40


async def test_operations_on_several_models_are_stored_together(app: TrapApp) -> None:
    seats, counters = app.models["TrapSeat"], app.models["TrapCounter"]
    await app.call("TrapSeat", "create", data={"id": "old", "row": "z", "number": 1})

    async with app.store.transaction() as records:
        one = await records.create(seats, seat(app, 1))
        label = await records.create(counters, counter(app, one["id"]))
        await records.update(seats, "old", {"guest": str(label["id"])}, {"guest": None})
        before = counts(app)

    stored = await app.call("TrapSeat", "read", id="old")
    assert before == (1, 0)
    assert counts(app) == (2, 1)
    assert stored["guest"] == str(label["id"])


async def test_a_transaction_reads_what_it_wrote(app: TrapApp) -> None:
    seats = app.models["TrapSeat"]
    everything = parse_filter(seats, {"number": {"$gte": 0}})
    order = parse_sort(seats, ["number"])

    async with app.store.transaction() as records:
        keys = await records.create_many(seats, [seat(app, number) for number in range(5)])
        changed = await records.update(seats, keys[0], {"guest": "g"}, {})
        await records.update_many(seats, [(keys[1], {"guest": "h"}), (keys[2], {"guest": "h"})])
        await records.delete(seats, keys[4])
        where = await records.update_where(
            seats, parse_filter(seats, {"guest": "h"}), {"guest": "i"}
        )
        upserted = await records.upsert_many(
            seats, [{"row": "a", "number": 3, "guest": "u"}], ("row", "number")
        )
        page = await records.find(seats, Query(everything, order))
        number = await records.count(seats, everything)
        read = await records.read(seats, keys[0])

    assert changed == read
    assert sorted(where) == sorted(keys[1:3])
    assert [(each.id, each.created) for each in upserted] == [(keys[3], False)]
    assert [(row["number"], row["guest"]) for row in page.rows] == [
        (0, "g"),
        (1, "i"),
        (2, "i"),
        (3, "u"),
    ]
    assert (number, page.more) == (4, False)
    assert (await app.call("TrapSeat", "count"))["count"] == 4


async def test_an_exception_of_the_block_undoes_everything_and_passes_through(
    app: TrapApp,
) -> None:
    await app.call("TrapSeat", "bulk_create", data=[{"id": "old", "row": "z", "number": 1}])
    before = app.tables.rows("TrapSeat")
    seats = app.models["TrapSeat"]

    async def work() -> None:
        async with app.store.transaction() as records:
            await records.create_many(seats, [seat(app, number) for number in range(30)])
            await records.update(seats, "old", {"guest": "g"}, {})
            await records.delete_where(seats, parse_filter(seats, {"row": "z"}))
            raise GivenUpError

    with pytest.raises(GivenUpError):
        await work()

    assert app.tables.rows("TrapSeat") == before
    assert await works_on(app)


FAILURES: list[tuple[str, type[ServerError]]] = [
    ("create", ConflictError),
    ("create_many", ConflictError),
    ("read", NotFoundError),
    ("update", NotFoundError),
    ("expected", ConflictError),
    ("update_many", NotFoundError),
    ("update_where", ConflictError),
    ("delete", NotFoundError),
    ("delete_many", NotFoundError),
    ("upsert_many", ConflictError),
]


async def fail(records: Records, app: TrapApp, how: str) -> None:
    """An operation that can't be done, because the seat `old` has the place z 1."""
    model = app.models["TrapSeat"]
    taken = seat(app, 1, row="z")
    match how:
        case "create":
            await records.create(model, taken)
        case "create_many":
            await records.create_many(model, [seat(app, 50), taken])
        case "read":
            await records.read(model, "nope")
        case "update":
            await records.update(model, "nope", {"guest": "x"}, {})
        case "expected":
            await records.update(model, "old", {"guest": "x"}, {"guest": "other"})
        case "update_many":
            await records.update_many(model, [("old", {"guest": "x"}), ("nope", {"guest": "x"})])
        case "update_where":
            condition = parse_filter(model, {"id": {"$null": False}})
            await records.update_where(model, condition, {"row": "z", "number": 1})
        case "delete":
            await records.delete(model, "nope")
        case "delete_many":
            await records.delete_many(model, ["old", "nope"])
        case "upsert_many":
            await records.upsert_many(
                model, [{"row": "b", "number": 1}, {"row": "z", "number": 1}], ("id",)
            )


@pytest.mark.parametrize(("how", "error"), FAILURES)
async def test_a_failed_operation_undoes_those_before_it(
    app: TrapApp, how: str, error: type[ServerError]
) -> None:
    await app.call("TrapSeat", "create", data={"id": "old", "row": "z", "number": 1})
    before = app.tables.rows("TrapSeat")

    async def work() -> None:
        async with app.store.transaction() as records:
            await records.create(app.models["TrapSeat"], seat(app, 1))
            await records.create(app.models["TrapCounter"], counter(app, "c"))
            await fail(records, app, how)

    with pytest.raises(error):
        await work()

    assert app.tables.rows("TrapSeat") == before
    assert counts(app) == (1, 0)


@pytest.mark.parametrize("how", ["create", "create_many", "update_where", "upsert_many"])
async def test_a_failure_that_the_block_swallows_is_never_a_silent_loss(
    app: TrapApp, how: str
) -> None:
    places = [{"id": "old", "row": "z", "number": 1}, {"row": "z", "number": 2}]
    await app.call("TrapSeat", "bulk_create", data=places)
    before = app.tables.rows("TrapSeat")
    ended_well = False

    with suppress(ServerError):
        async with app.store.transaction() as records:
            await records.create(app.models["TrapCounter"], counter(app, "c"))
            with pytest.raises(ConflictError):
                await fail(records, app, how)
        ended_well = True

    # Either the end says that nothing was stored, or what came before the failure was.
    assert app.tables.rows("TrapSeat") == before
    assert len(app.tables.rows("TrapCounter")) == ended_well
    assert await works_on(app)


async def test_transactions_at_once_do_not_mix(app: TrapApp) -> None:
    async def work(n: int) -> None:
        async with app.store.transaction() as records:
            for step in range(3):
                await records.create(app.models["TrapSeat"], seat(app, 10 * n + step))
                await asyncio.sleep(0)
            await records.create(app.models["TrapCounter"], counter(app, f"{n}"))
            if n % 2:
                raise GivenUpError

    outcomes = await asyncio.gather(*(work(n) for n in range(24)), return_exceptions=True)

    assert [type(each) for each in outcomes] == [type(None), GivenUpError] * 12
    numbers = {row["number"] for row in (await app.call("TrapSeat", "list", limit=99))["records"]}
    assert numbers == {10 * n + step for n in range(0, 24, 2) for step in range(3)}
    assert counts(app) == (36, 12)


async def test_an_outsider_sees_nothing_of_a_transaction_before_its_end(app: TrapApp) -> None:
    await app.call("TrapSeat", "create", data={"id": "old", "row": "z", "number": 1})
    before = app.tables.rows("TrapSeat")
    seats = app.models["TrapSeat"]

    async with app.store.transaction() as records:
        await records.create(seats, seat(app, 1))
        await records.update(seats, "old", {"guest": "g"}, {})
        assert app.tables.rows("TrapSeat") == before
        await records.delete(seats, "old")
        assert app.tables.rows("TrapSeat") == before

    assert [row[2] for row in app.tables.rows("TrapSeat")] == [1]


async def test_compare_and_set_within_transactions_loses_no_increment(app: TrapApp) -> None:
    counters = app.models["TrapCounter"]
    key = (await app.call("TrapCounter", "create", data={"label": "x"}))["id"]

    async def increment() -> None:
        while True:
            with suppress(ConflictError, UnavailableError):
                async with app.store.transaction() as records:
                    value = (await records.read(counters, key))["value"]
                    await records.update(counters, key, {"value": value + 1}, {"value": value})
                return

    await asyncio.gather(*(increment() for _ in range(10)))

    assert (await app.call("TrapCounter", "read", id=key))["value"] == 10


async def test_of_two_transactions_that_wait_for_each_other_one_goes_on(app: TrapApp) -> None:
    counters = app.models["TrapCounter"]
    labels = [{"label": "a"}, {"label": "b"}]
    first, second = (await app.call("TrapCounter", "bulk_create", data=labels))["ids"]
    # SQLite has one writer at a time, so that nobody waits for a row there.
    both_hold_one = asyncio.Barrier(2 if app.dialect == "postgresql" else 1)

    async def work(keys: tuple[int, int], value: int) -> int:
        async with app.store.transaction() as records:
            await records.update(counters, keys[0], {"value": value}, {})
            await both_hold_one.wait()
            await records.update(counters, keys[1], {"value": value}, {})
        return value

    outcomes = await asyncio.gather(
        work((first, second), 1), work((second, first), 2), return_exceptions=True
    )

    stored = {each["value"] for each in (await app.call("TrapCounter", "list"))["records"]}
    done = [each for each in outcomes if isinstance(each, int)]
    refused = [each for each in outcomes if not isinstance(each, int)]
    assert done
    assert len(stored) == 1
    assert stored <= set(done)
    assert all(isinstance(each, UnavailableError) and each.retryable for each in refused)


@pytest.mark.parametrize("at", ["waiting", "writing"])
async def test_a_cancelled_transaction_is_undone_and_frees_its_connection(
    app: TrapApp, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    model = app.models["TrapSeat"]

    async def work(started: asyncio.Event, n: int) -> None:
        async with app.store.transaction() as records:
            await records.create(model, seat(app, n))
            started.set()
            if at == "waiting":
                await asyncio.Event().wait()
            while True:
                await records.update_where(
                    model, parse_filter(model, {"number": n}), {"guest": "g"}
                )

    for n in range(25):
        started = asyncio.Event()
        task = asyncio.create_task(work(started, n))
        async with asyncio.timeout(20):
            await started.wait()
            for _ in range(n % 5):
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert counts(app) == (0, 0)
    assert await works_on(app)
    assert complaints(app, caplog) == []


async def test_transactions_cancelled_at_any_moment_leave_whole_transactions(
    app: TrapApp, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(n: int) -> None:
        async with app.store.transaction() as records:
            await records.create(app.models["TrapSeat"], seat(app, n))
            await records.create(app.models["TrapCounter"], counter(app, f"{n}"))

    for round_number in range(4):
        tasks = [asyncio.create_task(work(100 * round_number + n)) for n in range(40)]
        await tasks[round_number]
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in outcomes)

    seats = {row["number"] for row in (await app.call("TrapSeat", "list", limit=999))["records"]}
    counters = await app.call("TrapCounter", "list", limit=999)
    assert {str(number) for number in seats} == {each["label"] for each in counters["records"]}
    assert seats >= {101 * n for n in range(4)}
    assert await works_on(app)
    assert complaints(app, caplog) == []


async def test_a_timeout_within_a_transaction_undoes_it(app: TrapApp) -> None:
    async def work() -> None:
        async with app.store.transaction() as records:
            await records.create(app.models["TrapSeat"], seat(app, 1))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.2)

    assert counts(app) == (0, 0)
    assert await works_on(app)


async def test_an_empty_transaction_does_no_harm(app: TrapApp) -> None:
    async with app.store.transaction():
        pass

    assert counts(app) == (0, 0)


async def test_too_many_records_for_a_filter_undo_the_transaction(app: TrapApp) -> None:
    model = app.models["TrapPlain"]
    everything = {"label": {"$ne": "none"}}
    rows = [model.complete({"label": "x"}) for _ in range(600)]

    async def work() -> None:
        async with app.store.transaction() as records:
            await records.create_many(model, rows)
            await records.create_many(model, rows)
            await records.delete_where(model, parse_filter(model, everything))

    with pytest.raises(InvalidArgumentsError):
        await work()

    assert app.tables.rows("TrapPlain") == []
