"""Many calls at once: no errors, no lost updates, no record made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.errors import ConflictError
from tests.integration.records.trap_app import TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_60_mixed_calls_at_once_all_succeed(app: TrapApp) -> None:
    ids = (
        await app.call(
            "TrapSeat", "bulk_create", data=[{"row": "a", "number": n} for n in range(20)]
        )
    )["ids"]

    def call(n: int) -> Any:
        match n % 10:
            case 0:
                return app.call("TrapSeat", "create", data={"row": "b", "number": n})
            case 1:
                return app.call("TrapSeat", "read", id=ids[n % 20])
            case 2:
                return app.call("TrapSeat", "update", id=ids[n % 20], data={"guest": f"{n}"})
            case 3:
                return app.call("TrapSeat", "list", filter={"guest": {"$ilike": "%x%"}})
            case 4:
                rows = [{"row": "c", "number": n * 10 + k} for k in range(5)]
                return app.call("TrapSeat", "bulk_create", data=rows)
            case 5:
                changes = [{"id": key, "price": "1.00"} for key in (ids[3], ids[n % 20], ids[4])]
                return app.call(
                    "TrapSeat", "bulk_update", data=changes[: 2 + (n % 20 not in (3, 4))]
                )
            case 6:
                return app.call("TrapSeat", "upsert", data={"id": ids[0], "row": "a", "number": 0})
            case 7:
                return app.call("TrapSeat", "bulk_update", filter={"row": "a"}, data={"guest": "y"})
            case 8:
                return app.call("TrapSeat", "count", filter={"row": "a"})
            case _:
                return app.call("TrapSeat", "list", sort=["-price", "number"], include_total=True)

    await asyncio.gather(*(call(n) for n in range(60)))

    counts = {
        row: (await app.call("TrapSeat", "count", filter={"row": row}))["count"] for row in "abc"
    }
    assert counts == {"a": 20, "b": 6, "c": 30}


async def test_compare_and_set_by_8_workers_loses_no_increment(app: TrapApp) -> None:
    key = (await app.call("TrapCounter", "create", data={"label": "x"}))["id"]
    collisions = 0

    async def work() -> None:
        nonlocal collisions
        done = 0
        while done < 5:
            value = (await app.call("TrapCounter", "read", id=key))["value"]
            try:
                await app.call(
                    "TrapCounter",
                    "update",
                    id=key,
                    data={"value": value + 1},
                    expected={"value": value},
                )
            except ConflictError:
                collisions += 1
            else:
                done += 1

    await asyncio.gather(*(work() for _ in range(8)))

    assert (await app.call("TrapCounter", "read", id=key))["value"] == 40
    assert collisions > 0


async def test_of_20_equal_creates_one_succeeds(app: TrapApp) -> None:
    outcomes = await asyncio.gather(
        *(app.call("TrapCounter", "create", data={"label": "x"}) for _ in range(20)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, dict) for each in outcomes) == 1
    assert sum(isinstance(each, ConflictError) for each in outcomes) == 19
    assert len(app.tables.rows("TrapCounter")) == 1


async def test_of_20_equal_upserts_one_creates_and_19_update(app: TrapApp) -> None:
    results = await asyncio.gather(
        *(app.call("TrapCounter", "upsert", data={"label": "x", "value": n}) for n in range(20))
    )

    assert sum(each["created"] for each in results) == 1
    assert len({each["id"] for each in results}) == 1
    assert len(app.tables.rows("TrapCounter")) == 1


async def test_bulk_writes_of_the_same_records_in_any_order_do_not_block_each_other(
    app: TrapApp,
) -> None:
    if app.dialect == "postgresql":
        # By number the keys have another order than by their text, and the labels a third.
        app.tables.execute("SELECT setval(pg_get_serial_sequence('trap_counters', 'id'), 85)")
    labels = [{"label": f"{n}"} for n in range(30)]
    ids = (await app.call("TrapCounter", "bulk_create", data=labels))["ids"]
    backwards = list(reversed(ids))

    def change(keys: list[int], value: int) -> Any:
        rows = [{"id": key, "value": value} for key in keys]
        return app.call("TrapCounter", "bulk_update", data=rows)

    def change_all(value: int) -> Any:
        return app.call(
            "TrapCounter", "bulk_update", filter={"id": {"$null": False}}, data={"value": value}
        )

    def upsert(order: int, value: int) -> Any:
        rows = [{**label, "value": value} for label in labels[::order]]
        return app.call("TrapCounter", "bulk_upsert", data=rows)

    await asyncio.gather(
        *(change(keys, n) for n in range(5) for keys in (ids, backwards)),
        *(change_all(n) for n in range(5)),
        *(upsert(order, n) for n in range(3) for order in (1, -1)),
    )

    values = {row["value"] for row in (await app.call("TrapCounter", "list", limit=100))["records"]}
    assert len(values) == 1


async def test_a_record_is_deleted_once(app: TrapApp) -> None:
    key = (await app.call("TrapCounter", "create", data={"label": "x"}))["id"]

    outcomes = await asyncio.gather(
        *(app.call("TrapCounter", "delete", id=key) for _ in range(10)), return_exceptions=True
    )

    assert sum(isinstance(each, dict) for each in outcomes) == 1
