"""A softly deleted record stays in the table and in nobody's sight, but keeps its unique keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.query import EVERYTHING
from tests.integration.records.trap_app import Json, TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def vaults(app: TrapApp, *slots: int) -> list[int]:
    """Vaults on one shelf; their ids."""
    rows = [{"shelf": "a", "slot": slot, "code": f"c{slot}", "note": f"n{slot}"} for slot in slots]
    ids: list[int] = (await app.call("TrapVault", "bulk_create", data=rows))["ids"]
    return ids


def stored(app: TrapApp) -> dict[int, tuple[Any, ...]]:
    """All that is stored of each vault, tombstones too, without the time of the last change."""
    rows = app.tables.execute(
        "SELECT id, shelf, slot, code, note, created_at, deleted_at FROM trap_vaults"
    )
    return {row[0]: row[1:] for row in rows}


DELETIONS: list[tuple[str, str]] = [
    ("delete", "id"),
    ("bulk_delete", "ids"),
    ("bulk_delete", "filter"),
]


@pytest.mark.parametrize(("operation", "by"), DELETIONS)
async def test_a_deletion_marks_the_row_and_changes_nothing_else_of_it(
    app: TrapApp, operation: str, by: str
) -> None:
    ids = await vaults(app, 1, 2)
    before = stored(app)
    value: Any = {"id": ids[0], "ids": [ids[0]], "filter": {"slot": 1}}[by]
    now = datetime.now(UTC)

    await app.call("TrapVault", operation, **{by: value})

    after = stored(app)
    assert after[ids[1]] == before[ids[1]]
    assert after[ids[0]][:-1] == before[ids[0]][:-1]
    deleted_at = after[ids[0]][-1]
    moment = datetime.fromisoformat(str(deleted_at))
    # The database and this process share a clock; the tombstone says UTC.
    assert abs(moment.replace(tzinfo=UTC) - now) < timedelta(minutes=2)
    assert before[ids[0]][-1] is None


async def deleted_and_kept(app: TrapApp) -> tuple[int, int]:
    gone, kept = await vaults(app, 1, 2)
    await app.call("TrapVault", "delete", id=gone)
    return gone, kept


async def test_every_operation_by_id_passes_over_a_deleted_record(app: TrapApp) -> None:
    gone, kept = await deleted_and_kept(app)
    calls: list[tuple[str, Json]] = [
        ("read", {"id": gone}),
        ("read", {"id": gone, "fields": ["id"]}),
        ("update", {"id": gone, "data": {"note": "x"}}),
        ("update", {"id": gone, "data": {"note": "x"}, "expected": {"note": "n1"}}),
        ("update", {"id": gone, "data": {"note": "x"}, "expected": {"note": "wrong"}}),
        ("delete", {"id": gone}),
        ("bulk_update", {"data": [{"id": kept, "note": "x"}, {"id": gone, "note": "x"}]}),
        ("bulk_delete", {"ids": [kept, gone]}),
        ("bulk_delete", {"ids": [gone]}),
    ]
    for operation, arguments in calls:
        error = await app.refusal("TrapVault", operation, **arguments)

        assert isinstance(error, NotFoundError), operation
        assert error.details == {"id": gone}


async def test_every_filter_passes_over_a_deleted_record(app: TrapApp) -> None:
    gone, kept = await deleted_and_kept(app)
    conditions: list[Json] = [
        {},
        {"id": {"$in": [gone, kept]}},
        {"shelf": "a"},
        {"$or": [{"slot": 1}, {"slot": 2}]},
        {"$not": {"slot": 99}},
        {"note": {"$ilike": "N%"}},
        {"$or": [{"id": gone}, {"$not": {"id": gone}}]},
    ]
    tombstone = stored(app)[gone]
    for condition in conditions:
        for sort in ([], ["-slot"], ["note", "-id"]):
            listed = await app.call(
                "TrapVault", "list", filter=condition, sort=sort, include_total=True
            )
            assert [each["id"] for each in listed["records"]] == [kept]
            assert (listed["total"], "next_cursor" in listed) == (1, False)
            assert "deleted_at" not in listed["records"][0]
        assert await app.call("TrapVault", "count", filter=condition) == {"count": 1}
        if condition:
            updated = await app.call(
                "TrapVault", "bulk_update", filter=condition, data={"note": "N"}
            )
            assert updated["ids"] == [kept]
    deleted = await app.call("TrapVault", "bulk_delete", filter={"shelf": "a"})

    assert deleted["ids"] == [kept]
    assert stored(app)[gone] == tombstone
    assert await app.call("TrapVault", "count") == {"count": 0}


async def test_pages_by_cursor_pass_over_records_that_are_deleted_meanwhile(app: TrapApp) -> None:
    ids = await vaults(app, *range(6))
    first = await app.call("TrapVault", "list", limit=2)
    await app.call("TrapVault", "bulk_delete", ids=[ids[1], ids[2], ids[5]])

    second = await app.call("TrapVault", "list", limit=2, cursor=first["next_cursor"])

    assert [each["id"] for each in second["records"]] == [ids[3], ids[4]]
    assert "next_cursor" not in second


TAKEN: list[tuple[str, Json, list[str]]] = [
    ("create", {"data": {"shelf": "a", "slot": 1}}, ["shelf", "slot"]),
    ("create", {"data": {"shelf": "b", "slot": 1, "code": "c1"}}, ["code"]),
    (
        "bulk_create",
        {"data": [{"shelf": "b", "slot": 1}, {"shelf": "a", "slot": 1}]},
        ["shelf", "slot"],
    ),
    ("upsert", {"data": {"shelf": "a", "slot": 1, "note": "x"}}, ["shelf", "slot"]),
    (
        "upsert",
        {"data": {"shelf": "b", "slot": 1, "code": "c1"}, "conflict_on": ["code"]},
        ["code"],
    ),
    ("upsert", {"data": {"shelf": "b", "slot": 1, "code": "c1"}}, ["code"]),
    (
        "bulk_upsert",
        {"data": [{"shelf": "a", "slot": 2}, {"shelf": "a", "slot": 1}]},
        ["shelf", "slot"],
    ),
    (
        "bulk_upsert",
        {"data": [{"shelf": "b", "slot": 1, "code": "c1"}], "conflict_on": ["code"]},
        ["code"],
    ),
]


@pytest.mark.parametrize(("operation", "arguments", "unique_key"), TAKEN)
async def test_the_unique_keys_of_a_deleted_record_stay_taken_and_the_error_says_why(
    app: TrapApp, operation: str, arguments: Json, unique_key: list[str]
) -> None:
    await deleted_and_kept(app)

    error = await app.refusal("TrapVault", operation, **arguments)

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": unique_key}
    assert error.field is not None
    assert error.field.endswith(unique_key[0])
    # Who looks for the record that is in the way would not find it.
    assert "deleted" in error.message


@pytest.mark.parametrize("how", ["update", "bulk_update", "bulk_update, filter"])
async def test_an_update_can_not_take_the_unique_key_of_a_deleted_record(
    app: TrapApp, how: str
) -> None:
    _, kept = await deleted_and_kept(app)
    calls: dict[str, Json] = {
        "update": {"id": kept, "data": {"slot": 1}},
        "bulk_update": {"data": [{"id": kept, "slot": 1}]},
        "bulk_update, filter": {"filter": {"id": kept}, "data": {"slot": 1}},
    }

    error = await app.refusal("TrapVault", how.partition(",")[0], **calls[how])

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["shelf", "slot"]}
    assert "deleted" in error.message


@pytest.mark.parametrize("operation", ["create", "upsert", "bulk_create", "bulk_upsert"])
async def test_the_id_of_a_deleted_record_stays_taken(app: TrapApp, operation: str) -> None:
    await app.call("TrapArchive", "create", data={"id": "x", "code": "c"})
    await app.call("TrapArchive", "delete", id="x")
    row = {"id": "x", "code": "new"}

    error = await app.refusal(
        "TrapArchive", operation, data=[row] if operation.startswith("bulk") else row
    )

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["id"]}
    assert "deleted" in error.message


async def test_a_unique_key_that_only_living_records_share_is_refused_as_ever(
    app: TrapApp,
) -> None:
    await vaults(app, 1)

    error = await app.refusal("TrapVault", "create", data={"shelf": "a", "slot": 1})

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["shelf", "slot"]}


HIDDEN: list[tuple[str, Json, str]] = [
    ("list", {"filter": {"deleted_at": {"$null": False}}}, "filter.deleted_at"),
    ("list", {"filter": {"deleted_at": None}}, "filter.deleted_at"),
    (
        "list",
        {"filter": {"$or": [{"slot": 1}, {"deleted_at": {"$null": False}}]}},
        "filter.$or[1].deleted_at",
    ),
    ("list", {"sort": ["-deleted_at"]}, "sort[0]"),
    ("list", {"fields": ["deleted_at"]}, "fields[0]"),
    ("list", {"include_deleted": True}, "include_deleted"),
    ("count", {"filter": {"deleted_at": {"$null": False}}}, "filter.deleted_at"),
    ("count", {"include_deleted": True}, "include_deleted"),
    ("read", {"id": 1, "include_deleted": True}, "include_deleted"),
    ("create", {"data": {"shelf": "b", "slot": 1, "deleted_at": None}}, "data.deleted_at"),
    ("update", {"id": 1, "data": {"deleted_at": None}}, "data.deleted_at"),
    (
        "update",
        {"id": 1, "data": {"note": "x"}, "expected": {"deleted_at": None}},
        "expected.deleted_at",
    ),
    ("upsert", {"data": {"shelf": "a", "slot": 1, "deleted_at": None}}, "data.deleted_at"),
    ("bulk_update", {"data": [{"id": 1, "deleted_at": None}]}, "data[0].deleted_at"),
    ("bulk_update", {"filter": {"slot": 1}, "data": {"deleted_at": None}}, "data.deleted_at"),
    (
        "bulk_upsert",
        {"data": [{"shelf": "a", "slot": 1, "deleted_at": None}]},
        "data[0].deleted_at",
    ),
    ("bulk_delete", {"filter": {"deleted_at": {"$null": False}}}, "filter.deleted_at"),
]


@pytest.mark.parametrize(("operation", "arguments", "field"), HIDDEN)
async def test_the_mark_of_a_deletion_can_neither_be_asked_for_nor_set(
    app: TrapApp, operation: str, arguments: Json, field: str
) -> None:
    await deleted_and_kept(app)

    error = await app.refusal("TrapVault", operation, **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


async def test_a_deletion_in_a_transaction_that_fails_is_undone(app: TrapApp) -> None:
    ids = await vaults(app, 1, 2)
    before = stored(app)
    model = app.models["TrapVault"]

    async def work() -> None:
        async with app.store.transaction() as records:
            await records.delete(model, ids[0])
            assert await records.count(model, EVERYTHING) == 1
            await records.delete(model, ids[0])

    with pytest.raises(NotFoundError):
        await work()

    assert stored(app) == before
