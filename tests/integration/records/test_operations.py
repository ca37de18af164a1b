"""What each operation does and returns, and that a refused call changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.operations import Operation, operations_for
from kailash_mcp_prod.records.results import result_schema
from tests.integration.records.trap_app import Json, TrapApp
from tests.integration.records.trap_values import BASE
from tests.integration.records.trap_writes import WRITES
from tests.json_schema import check_value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = tuple(Operation)


def seat(row: str, number: int, **more: Any) -> Json:
    return {"row": row, "number": number, **more}


async def seats(app: TrapApp, count: int, **more: Any) -> list[str]:
    made = await app.call(
        "TrapSeat", "bulk_create", data=[seat("a", number, **more) for number in range(count)]
    )
    ids: list[str] = made["ids"]
    return ids


async def guests(app: TrapApp) -> dict[tuple[str, int], str | None]:
    listed = await app.call("TrapSeat", "list", limit=1000)
    return {(each["row"], each["number"]): each["guest"] for each in listed["records"]}


async def test_every_result_has_the_shape_that_its_schema_promises(app: TrapApp) -> None:
    row = seat("z", 1, guest="g")
    made = await app.call("TrapSeat", "create", data=row)
    calls: list[tuple[str, Json]] = [
        ("create", {"data": seat("z", 2)}),
        ("read", {"id": made["id"]}),
        ("read", {"id": made["id"], "fields": ["guest", "price"]}),
        ("update", {"id": made["id"], "data": {"guest": None}}),
        ("list", {}),
        ("list", {"fields": ["id"], "include_total": True, "limit": 1}),
        ("count", {}),
        ("bulk_create", {"data": [seat("y", 1), seat("y", 2)]}),
        ("bulk_update", {"data": [{"id": made["id"], "guest": "x"}]}),
        ("bulk_update", {"filter": {"row": "y"}, "data": {"guest": "x"}}),
        ("bulk_upsert", {"data": [seat("y", 2), seat("y", 3)], "conflict_on": ["row", "number"]}),
        ("upsert", {"data": seat("w", 1)}),
        ("bulk_delete", {"filter": {"row": "y"}}),
        ("bulk_delete", {"ids": [made["id"]]}),
    ]
    for operation, arguments in calls:
        result = await app.call("TrapSeat", operation, **arguments)
        schema = result_schema(app.models["TrapSeat"], Operation(operation))
        check_value(schema, result)


async def test_every_result_of_every_type_fits_its_schema(app: TrapApp) -> None:
    for model in ("TrapSample", "TrapOption", "TrapCounter", "TrapWords", "TrapArchive"):
        row = {
            "TrapSample": BASE,
            "TrapOption": {},
            "TrapCounter": {"label": "x"},
            "TrapWords": {"success": True, "error": "e"},
            "TrapArchive": {"code": "c"},
        }[model]
        created = await app.call(model, "create", data=row)
        check_value(result_schema(app.models[model], Operation.CREATE), created)
        for operation in ("read", "delete"):
            result = await app.call(model, operation, id=created["id"])
            check_value(result_schema(app.models[model], Operation(operation)), result)


async def test_bulk_results_count_what_was_done_and_give_the_ids_in_order(app: TrapApp) -> None:
    made = await app.call("TrapSeat", "bulk_create", data=[seat("b", n) for n in (3, 1, 2)])
    numbers = [(await app.call("TrapSeat", "read", id=key))["number"] for key in made["ids"]]
    backwards = list(reversed(made["ids"]))
    updated = await app.call(
        "TrapSeat", "bulk_update", data=[{"id": key, "guest": "g"} for key in backwards]
    )
    deleted = await app.call("TrapSeat", "bulk_delete", ids=backwards)

    assert numbers == [3, 1, 2]
    assert made == {"processed": 3, "created": 3, "ids": made["ids"]}
    assert updated == {"processed": 3, "updated": 3, "ids": backwards}
    assert deleted == {"processed": 3, "deleted": 3, "ids": backwards}


async def test_read_and_list_return_only_the_chosen_fields(app: TrapApp) -> None:
    [key] = await seats(app, 1)

    read = await app.call("TrapSeat", "read", id=key, fields=["price", "id"])
    listed = await app.call("TrapSeat", "list", fields=["row"])
    twice = await app.call("TrapSeat", "list", fields=["row", "row", "price", "row"])

    assert read == {"price": "10.00", "id": key}
    assert listed["records"] == [{"row": "a"}]
    assert twice["records"] == [{"row": "a", "price": "10.00"}]


async def test_an_update_changes_the_named_fields_and_no_others(app: TrapApp) -> None:
    made = await app.call("TrapSeat", "create", data=seat("a", 1, guest="g", price="5.00"))

    updated = await app.call("TrapSeat", "update", id=made["id"], data={"price": "6.00"})

    changed = {"price", "updated_at"}
    assert updated["price"] == "6.00"
    assert {**made, **{name: updated[name] for name in changed}} == updated
    assert updated["updated_at"] >= made["updated_at"]


MISSING: list[tuple[str, Json]] = [
    ("read", {"id": "nope"}),
    ("update", {"id": "nope", "data": {"guest": "x"}}),
    ("update", {"id": "nope", "data": {"guest": "x"}, "expected": {"guest": "x"}}),
    ("delete", {"id": "nope"}),
]


@pytest.mark.parametrize(("operation", "arguments"), MISSING)
async def test_a_missing_record_is_not_found(app: TrapApp, operation: str, arguments: Json) -> None:
    await seats(app, 2)

    error = await app.refusal("TrapSeat", operation, **arguments)

    assert isinstance(error, NotFoundError)
    assert (error.field, error.details) == ("id", {"id": "nope"})


async def test_one_missing_id_stops_a_whole_bulk_call(app: TrapApp) -> None:
    ids = await seats(app, 20)
    with_missing = [*ids[:10], "nope", *ids[10:]]
    changes = [{"id": key, "guest": "x"} for key in with_missing]
    calls: list[tuple[str, Json]] = [
        ("bulk_update", {"data": changes}),
        ("bulk_delete", {"ids": with_missing}),
    ]
    for operation, arguments in calls:
        error = await app.refusal("TrapSeat", operation, **arguments)

        assert isinstance(error, NotFoundError)
        assert error.details == {"id": "nope"}


async def test_a_deleted_record_is_gone_and_can_not_be_deleted_again(app: TrapApp) -> None:
    [key, _] = await seats(app, 2)

    assert await app.call("TrapSeat", "delete", id=key) == {"id": key, "deleted": True}

    assert isinstance(await app.refusal("TrapSeat", "delete", id=key), NotFoundError)
    assert len(app.tables.rows("TrapSeat")) == 1


@pytest.mark.parametrize("write", WRITES)
async def test_a_taken_unique_key_is_a_conflict_in_every_write(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    taken = await app.call("TrapSeat", "create", data=seat("taken", 1, code="T", guest="secret"))
    ids = await seats(app, 2)
    for change, unique in [
        (seat("taken", 1), ["row", "number"]),
        ({"code": "T"}, ["code"]),
    ]:
        whole = seat("new", 0)
        error = await app.refusal(
            "TrapSeat", how.operation, **how.arguments(whole, {"number": 2, **change}, ids)
        )

        assert isinstance(error, ConflictError)
        assert error.details == {"unique_key": unique}
        assert error.field is not None
        assert error.field.endswith(unique[0])
        assert "secret" not in str(error.to_dict("r"))
        assert taken["id"] not in str(error.to_dict("r"))


@pytest.mark.parametrize("operation", ["create", "bulk_create"])
async def test_a_taken_id_is_a_conflict(app: TrapApp, operation: str) -> None:
    [key] = await seats(app, 1)
    row = seat("b", 1, id=key)

    error = await app.refusal(
        "TrapSeat", operation, data=row if operation == "create" else [seat("c", 1), row]
    )

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["id"]}


async def test_many_nulls_do_not_collide_in_a_unique_key(app: TrapApp) -> None:
    await seats(app, 5)

    assert [row["code"] for row in (await app.call("TrapSeat", "list"))["records"]] == [None] * 5


@pytest.mark.parametrize("position", [0, 25, 49])
async def test_a_duplicate_among_50_rows_stops_a_bulk_create(app: TrapApp, position: int) -> None:
    await seats(app, 1)
    rows = [seat("b", number) for number in range(50)]
    rows[position] = seat("a", 0)

    error = await app.refusal("TrapSeat", "bulk_create", data=rows)

    assert isinstance(error, ConflictError)
    assert len(app.tables.rows("TrapSeat")) == 1


async def test_a_bad_value_in_the_last_row_stops_a_bulk_create(app: TrapApp) -> None:
    rows = [*(seat("b", number) for number in range(50)), seat("b", True)]

    error = await app.refusal("TrapSeat", "bulk_create", data=rows)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "data[50].number"
    assert app.tables.rows("TrapSeat") == []


async def test_a_conflict_in_the_last_row_undoes_a_bulk_update(app: TrapApp) -> None:
    ids = await seats(app, 10)
    changes: list[Json] = [{"id": key, "guest": "x"} for key in ids]
    changes[-1] = {"id": ids[-1], "number": 0}

    error = await app.refusal("TrapSeat", "bulk_update", data=changes)

    assert isinstance(error, ConflictError)


async def test_a_filtered_bulk_update_that_breaks_a_unique_key_changes_nothing(
    app: TrapApp,
) -> None:
    await seats(app, 10)

    error = await app.refusal("TrapSeat", "bulk_update", filter={"row": "a"}, data={"code": "C"})

    assert isinstance(error, ConflictError)


@pytest.mark.parametrize(
    ("operation", "arguments", "field"),
    [
        ("bulk_create", {"data": [seat("b", 1, id="x"), seat("b", 2, id="x")]}, "data[1].id"),
        ("bulk_update", {"data": [{"id": "x", "row": "b"}, {"id": "x", "row": "c"}]}, "data[1].id"),
        ("bulk_delete", {"ids": ["x", "y", "x"]}, "ids[2]"),
        ("bulk_upsert", {"data": [seat("b", 1, id="x"), seat("b", 2, id="x")]}, "data[1]"),
        (
            "bulk_upsert",
            {"data": [seat("b", 1), seat("b", 1)], "conflict_on": ["row", "number"]},
            "data[1]",
        ),
    ],
)
async def test_naming_a_record_twice_in_one_call_is_refused(
    app: TrapApp, operation: str, arguments: Json, field: str
) -> None:
    error = await app.refusal("TrapSeat", operation, **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


NOTHING_TO_DO: list[tuple[str, Json, str]] = [
    ("update", {"id": "x", "data": {}}, "data"),
    ("update", {"id": "x", "data": {"row": "b"}, "expected": {}}, "expected"),
    ("bulk_create", {"data": []}, "data"),
    ("bulk_update", {"data": []}, "data"),
    ("bulk_update", {"data": [{"id": "x"}]}, "data[0]"),
    ("bulk_update", {"filter": {"row": "a"}, "data": {}}, "data"),
    ("bulk_upsert", {"data": []}, "data"),
    ("bulk_delete", {"ids": []}, "ids"),
    ("bulk_delete", {}, "ids"),
    ("bulk_update", {"data": [{"row": "b"}]}, "data[0].id"),
    ("bulk_update", {"data": [{"id": None, "row": "b"}]}, "data[0].id"),
    ("bulk_update", {"data": {"row": "b"}}, "data"),
    ("bulk_update", {"filter": {"row": "a"}, "data": [{"id": "x", "row": "b"}]}, "data"),
    ("bulk_update", {"filter": {"row": "a"}, "data": {"id": "x"}}, "data.id"),
    ("bulk_delete", {"ids": ["x"], "filter": {"row": "a"}}, "ids"),
    ("bulk_delete", {"ids": "x"}, "ids"),
    ("bulk_delete", {"ids": [None]}, "ids[0]"),
    ("bulk_create", {"data": {"row": "b", "number": 1}}, "data"),
    ("bulk_create", {"data": [seat("b", 1), None]}, "data[1]"),
    ("create", {"data": [seat("b", 1)]}, "data"),
    ("create", {"data": None}, "data"),
    ("create", {}, "data"),
    ("create", {"row": "b", "number": 1}, "data"),
    ("read", {}, "id"),
    ("read", {"id": "x", "raise_on_not_found": False}, "raise_on_not_found"),
    ("read", {"id": "x", "include_deleted": True}, "include_deleted"),
    ("delete", {"id": "x", "filter": {"row": "b"}}, "filter"),
    ("update", {"id": "x", "data": {"row": "b"}, "filter": {"row": "b"}}, "filter"),
    ("bulk_delete", {"filter": {"row": "b"}, "confirmed": True}, "confirmed"),
    ("bulk_delete", {"filter": {"row": "b"}, "safe_mode": False}, "safe_mode"),
    ("list", {"database_url": "sqlite:////x.db"}, "database_url"),
    ("list", {"enable_cache": True}, "enable_cache"),
    ("count", {"count_only": True}, "count_only"),
]


@pytest.mark.parametrize(("operation", "arguments", "field"), NOTHING_TO_DO)
async def test_wrong_arguments_are_refused_and_named(
    app: TrapApp, operation: str, arguments: Json, field: str
) -> None:
    await app.call("TrapSeat", "create", data=seat("a", 1, id="x"))

    error = await app.refusal("TrapSeat", operation, **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


EVERYTHING: list[Json] = [
    {},
    {"$and": [{}]},
    {"$or": [{}]},
    {"$or": [{"row": "b"}, {}]},
    {"$not": {}},
    {"$and": [{"$or": [{}]}]},
    {"$and": []},
    {"$or": []},
]


@pytest.mark.parametrize("empty", EVERYTHING)
async def test_a_bulk_write_needs_a_filter_with_conditions(app: TrapApp, empty: Json) -> None:
    await seats(app, 3)
    writes: list[tuple[str, Json]] = [
        ("bulk_delete", {}),
        ("bulk_update", {"data": {"guest": "x"}}),
    ]
    for operation, more in writes:
        error = await app.refusal("TrapSeat", operation, filter=empty, **more)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field is not None
        assert error.field.startswith("filter")


async def test_a_bulk_write_may_name_every_record_explicitly(app: TrapApp) -> None:
    await seats(app, 3)

    deleted = await app.call("TrapSeat", "bulk_delete", filter={"id": {"$null": False}})

    assert (deleted["deleted"], app.tables.rows("TrapSeat")) == (3, [])


async def test_a_filter_that_matches_nothing_changes_nothing(app: TrapApp) -> None:
    await seats(app, 3)
    before = app.tables.rows("TrapSeat")

    updated = await app.call("TrapSeat", "bulk_update", filter={"row": "q"}, data={"guest": "x"})
    deleted = await app.call("TrapSeat", "bulk_delete", filter={"id": {"$in": []}})

    assert updated == {"processed": 0, "updated": 0, "ids": []}
    assert deleted == {"processed": 0, "deleted": 0, "ids": []}
    assert app.tables.rows("TrapSeat") == before


@pytest.mark.parametrize(
    "chosen",
    [
        {"guest": {"$like": "a%"}},
        {"guest": {"$ilike": "A%"}},
        {"price": {"$lt": "9.5"}},
        {"$or": [{"number": 0}, {"number": 1}]},
        {"$not": {"number": {"$gte": 2}}},
        {"number": {"$gte": 0, "$lt": 2}, "row": {"$eq": "a"}},
        {"guest": {"$ne": "b"}},
        {"code": None, "guest": {"$null": False}, "price": "9.0"},
    ],
)
async def test_a_bulk_write_takes_the_same_filters_as_a_list(app: TrapApp, chosen: Json) -> None:
    first = await app.call(
        "TrapSeat",
        "bulk_create",
        data=[seat("a", n, guest="anna", price="9.00") for n in range(2)],
    )
    await app.call(
        "TrapSeat", "bulk_create", data=[seat("a", n, guest="b", price="10.00") for n in (2, 3)]
    )

    updated = await app.call("TrapSeat", "bulk_update", filter=chosen, data={"code": None})
    deleted = await app.call("TrapSeat", "bulk_delete", filter=chosen)

    assert sorted(updated["ids"]) == sorted(deleted["ids"]) == sorted(first["ids"])
    assert set(await guests(app)) == {("a", 2), ("a", 3)}


async def test_a_matching_expectation_lets_the_change_through(app: TrapApp) -> None:
    created = await app.call("TrapSample", "create", data=BASE)
    expected = {name: value for name, value in created.items() if name != "updated_at"}

    updated = await app.call(
        "TrapSample", "update", id=created["id"], data={"whole": 9}, expected=expected
    )

    assert updated["whole"] == 9


@pytest.mark.parametrize(
    "expected",
    [
        {"guest": "other"},
        {"guest": None},
        {"price": "10.01"},
        {"code": "x"},
        {"row": "a", "number": 2},
        {"created_at": "2001-01-01T00:00:00Z"},
        {"id": "other"},
    ],
)
async def test_a_record_in_another_state_than_expected_is_a_conflict(
    app: TrapApp, expected: Json
) -> None:
    created = await app.call("TrapSeat", "create", data=seat("a", 1, guest="g"))

    error = await app.refusal(
        "TrapSeat", "update", id=created["id"], data={"guest": "new"}, expected=expected
    )

    assert isinstance(error, ConflictError)
    assert error.field == f"expected.{list(expected)[-1]}"


async def test_expected_values_are_compared_by_meaning(app: TrapApp) -> None:
    created = await app.call("TrapSample", "create", data=BASE)
    same = {
        "amount": "1.5000",
        "moment": "2026-03-01T10:30:00+01:00",
        "real": 0.1,
        "token": BASE["token"].upper(),
        "free": BASE["free"],
    }

    assert await app.call(
        "TrapSample", "update", id=created["id"], data={"whole": 3}, expected=same
    )


@pytest.mark.parametrize("name", ["nope", "guest; --", 'guest" IS NULL OR "id'])
async def test_an_unknown_expected_field_is_refused(app: TrapApp, name: str) -> None:
    [key] = await seats(app, 1)

    error = await app.refusal("TrapSeat", "update", id=key, data={"guest": "x"}, expected={name: 1})

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == f"expected.{name}"


async def test_an_upsert_creates_with_defaults_and_changes_only_what_is_given(
    app: TrapApp,
) -> None:
    created = await app.call("TrapSeat", "upsert", data=seat("a", 1, id="x", guest="g"))
    updated = await app.call("TrapSeat", "upsert", data=seat("a", 1, id="x", price="7.00"))

    assert (created["created"], created["guest"], created["price"]) == (True, "g", "10.00")
    assert (updated["created"], updated["guest"], updated["price"]) == (False, "g", "7.00")
    assert len(app.tables.rows("TrapSeat")) == 1


async def test_an_upsert_without_an_id_creates(app: TrapApp) -> None:
    first = await app.call("TrapSeat", "upsert", data=seat("a", 1))

    assert first["created"]
    error = await app.refusal("TrapSeat", "upsert", data=seat("a", 1))
    assert isinstance(error, ConflictError)


@pytest.mark.parametrize(("operation", "path"), [("upsert", "data"), ("bulk_upsert", "data[0]")])
async def test_an_upsert_recognises_records_by_a_chosen_unique_key(
    app: TrapApp, operation: str, path: str
) -> None:
    old = await app.call("TrapSeat", "create", data=seat("a", 1, guest="g", code="C"))

    def arguments(row: Json, key: list[str]) -> Json:
        return {"data": row if operation == "upsert" else [row], "conflict_on": key}

    place = ["row", "number"]
    by_place = await app.call("TrapSeat", operation, **arguments(seat("a", 1, price="1.00"), place))
    by_code = await app.call("TrapSeat", operation, **arguments(seat("b", 9, code="C"), ["code"]))
    elsewhere = await app.call("TrapSeat", operation, **arguments(seat("c", 1), place))
    stored = await app.call("TrapSeat", "read", id=old["id"])

    def made(result: Json) -> bool:
        return bool(result["created"])

    assert [made(each) for each in (by_place, by_code, elsewhere)] == [False, False, True]
    assert (stored["row"], stored["number"], stored["price"], stored["guest"]) == (
        "b",
        9,
        "1.00",
        "g",
    )
    missing = await app.refusal("TrapSeat", operation, **arguments(seat("d", 1), ["code"]))
    assert isinstance(missing, InvalidArgumentsError)
    assert missing.field == f"{path}.code"
    moved = await app.refusal("TrapSeat", operation, **arguments(seat("b", 9, id="new"), place))
    assert isinstance(moved, ConflictError)


@pytest.mark.parametrize("operation", ["upsert", "bulk_upsert"])
@pytest.mark.parametrize(
    "key",
    [
        [],
        ["guest"],
        ["row"],
        ["number", "row"],
        ["row", "number", "code"],
        ["nope"],
        ["code", "code"],
        ["id) DO NOTHING; --"],
    ],
)
async def test_an_upsert_refuses_to_recognise_records_by_anything_else(
    app: TrapApp, operation: str, key: list[str]
) -> None:
    row = seat("a", 1)

    error = await app.refusal(
        "TrapSeat",
        operation,
        data=row if operation == "upsert" else [row],
        conflict_on=key,
    )

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "conflict_on"
    assert error.details == {"unique_keys": [["id"], ["row", "number"], ["code"]]}


@pytest.mark.parametrize("key", ["code", [1], [None], {}, None, [["row"]]])
async def test_a_unique_key_of_a_wrong_type_is_refused(app: TrapApp, key: Any) -> None:
    error = await app.refusal("TrapSeat", "upsert", data=seat("a", 1), conflict_on=key)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field is not None
    assert error.field.startswith("conflict_on")


async def test_a_bulk_upsert_counts_what_it_made_and_what_it_changed(app: TrapApp) -> None:
    ids = await seats(app, 2, guest="g")
    rows = [seat("n", 1), seat("a", 0, id=ids[0], guest="x"), seat("n", 2), seat("a", 1, id=ids[1])]

    result = await app.call("TrapSeat", "bulk_upsert", data=rows)

    assert {**result, "ids": None} == {
        "processed": 4,
        "created": 2,
        "updated": 2,
        "ids": None,
        "outcomes": ["created", "updated", "created", "updated"],
    }
    assert [result["ids"][1], result["ids"][3]] == ids
    assert await guests(app) == {("a", 0): "x", ("a", 1): "g", ("n", 1): None, ("n", 2): None}


async def test_a_conflict_undoes_a_whole_bulk_upsert(app: TrapApp) -> None:
    ids = await seats(app, 2)
    rows = [seat("n", 1), seat("a", 0, id=ids[0], guest="x"), seat("a", 1)]

    error = await app.refusal("TrapSeat", "bulk_upsert", data=rows)

    assert isinstance(error, ConflictError)


async def test_an_upsert_on_a_generated_key_goes_by_the_other_unique_key(app: TrapApp) -> None:
    first = await app.call("TrapCounter", "upsert", data={"label": "a", "value": 1})
    second = await app.call("TrapCounter", "upsert", data={"label": "a", "value": 2})
    both = await app.call("TrapCounter", "bulk_upsert", data=[{"label": "a"}, {"label": "b"}])

    assert (first["created"], second["created"]) == (True, False)
    assert first["id"] == second["id"] == both["ids"][0]
    assert (both["created"], both["updated"]) == (1, 1)
    assert (await app.call("TrapCounter", "read", id=first["id"]))["value"] == 2


async def test_upserts_on_unique_keys_that_need_quotes(app: TrapApp) -> None:
    row = {"order": 1, "group": "g", "createdBy": "me"}
    key = ["order", "group"]

    first = await app.call("TrapReserved", "upsert", data=row, conflict_on=key)
    second = await app.call(
        "TrapReserved", "upsert", data={**row, "createdBy": "you"}, conflict_on=key
    )

    assert (first["id"], second["created"], second["createdBy"]) == (second["id"], False, "you")
    assert isinstance(await app.refusal("TrapReserved", "create", data=row), ConflictError)


async def test_a_model_offers_only_the_operations_that_it_allows(app: TrapApp) -> None:
    ledger = operations_for(app.models["TrapLedger"], ALL)
    plain = operations_for(app.models["TrapPlain"], ALL)

    assert set(ledger) == {"create", "read", "list", "bulk_create", "count", "aggregate"}
    assert set(ALL) - set(plain) == {"upsert", "bulk_upsert"}
    assert operations_for(app.models["TrapCounter"], ALL) == ALL
    assert set(ALL) - set(operations_for(app.models["TrapUpserted"], ALL)) == {"upsert"}
    assert operations_for(app.models["TrapSeat"], ALL[:2]) == ALL[:2]


async def test_an_append_only_model_is_written_and_read(app: TrapApp) -> None:
    one = await app.call("TrapLedger", "create", data={"entry": "one"})
    many = await app.call("TrapLedger", "bulk_create", data=[{"entry": "two"}, {"entry": "three"}])

    listed = await app.call("TrapLedger", "list", filter={"entry": {"$ne": "two"}})
    assert {each["id"] for each in listed["records"]} == {one["id"], many["ids"][1]}
    assert await app.call("TrapLedger", "read", id=one["id"]) == one
    assert await app.call("TrapLedger", "count") == {"count": 3}


async def test_a_softly_deleted_record_stays_in_the_table_and_out_of_sight(app: TrapApp) -> None:
    kept = await app.call("TrapArchive", "create", data={"code": "kept"})
    gone = await app.call("TrapArchive", "create", data={"code": "gone", "note": "n"})

    await app.call("TrapArchive", "delete", id=gone["id"])

    assert len(app.tables.rows("TrapArchive")) == 2
    for filters in (
        {},
        {"filter": {"id": gone["id"]}},
        {"filter": {"note": "n"}},
        {"filter": {"$or": [{"code": "gone"}, {"code": "kept"}]}},
        {"filter": {"$not": {"code": "nope"}}},
        {"sort": ["-note"]},
    ):
        listed = await app.call("TrapArchive", "list", include_total=True, **filters)
        visible = [kept] if "gone" not in str(filters) or "kept" in str(filters) else []
        if filters in ({"filter": {"id": gone["id"]}}, {"filter": {"note": "n"}}):
            visible = []
        assert (listed["records"], listed["total"]) == (visible, len(visible))
    assert await app.call("TrapArchive", "count") == {"count": 1}


@pytest.mark.parametrize(
    ("operation", "arguments", "refused"),
    [
        ("read", {"id": "x"}, NotFoundError),
        ("update", {"id": "x", "data": {"note": "n"}}, NotFoundError),
        ("delete", {"id": "x"}, NotFoundError),
        ("bulk_update", {"data": [{"id": "x", "note": "n"}]}, NotFoundError),
        ("bulk_delete", {"ids": ["x"]}, NotFoundError),
        ("create", {"data": {"id": "x", "code": "new"}}, ConflictError),
        ("create", {"data": {"code": "c"}}, ConflictError),
        ("upsert", {"data": {"id": "x", "code": "c"}}, ConflictError),
        ("upsert", {"data": {"code": "c"}, "conflict_on": ["code"]}, ConflictError),
        ("bulk_upsert", {"data": [{"id": "x", "code": "c"}]}, ConflictError),
        ("list", {"filter": {"deleted_at": {"$null": False}}}, InvalidArgumentsError),
        ("list", {"sort": ["deleted_at"]}, InvalidArgumentsError),
        ("list", {"fields": ["deleted_at"]}, InvalidArgumentsError),
        ("bulk_delete", {"filter": {"deleted_at": {"$null": False}}}, InvalidArgumentsError),
        ("create", {"data": {"code": "d", "deleted_at": None}}, InvalidArgumentsError),
        ("update", {"id": "x", "data": {"deleted_at": None}}, InvalidArgumentsError),
    ],
)
async def test_a_softly_deleted_record_can_not_be_reached(
    app: TrapApp, operation: str, arguments: Json, refused: type[Exception]
) -> None:
    await app.call("TrapArchive", "create", data={"id": "x", "code": "c"})
    await app.call("TrapArchive", "delete", id="x")

    assert isinstance(await app.refusal("TrapArchive", operation, **arguments), refused)


async def test_bulk_writes_by_filter_pass_over_softly_deleted_records(app: TrapApp) -> None:
    await app.call("TrapArchive", "bulk_create", data=[{"code": "a"}, {"code": "b"}])
    first = await app.call("TrapArchive", "bulk_delete", filter={"code": "a"})
    stored = app.tables.rows("TrapArchive")

    updated = await app.call(
        "TrapArchive", "bulk_update", filter={"id": {"$null": False}}, data={"note": "n"}
    )
    again = await app.call("TrapArchive", "bulk_delete", filter={"code": {"$in": ["a", "b"]}})

    assert (first["deleted"], updated["updated"], again["deleted"]) == (1, 1, 1)
    tombstone = next(row for row in stored if row[0] == first["ids"][0])
    assert tombstone in app.tables.rows("TrapArchive")


async def test_a_bulk_call_takes_1000_rows_and_not_one_more(app: TrapApp) -> None:
    rows = [{"label": f"row {number}"} for number in range(1001)]

    error = await app.refusal("TrapPlain", "bulk_create", data=rows)
    made = await app.call("TrapPlain", "bulk_create", data=rows[:1000])

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "data"
    assert (made["created"], len(set(made["ids"]))) == (1000, 1000)
    assert len(app.tables.rows("TrapPlain")) == 1000


@pytest.mark.parametrize(
    ("operation", "arguments", "field"),
    [
        ("bulk_update", {"data": [{"id": f"{n}", "guest": "x"} for n in range(1001)]}, "data"),
        ("bulk_delete", {"ids": [f"{n}" for n in range(1001)]}, "ids"),
        ("bulk_upsert", {"data": [seat("a", n) for n in range(1001)]}, "data"),
    ],
)
async def test_every_bulk_call_refuses_1001_rows(
    app: TrapApp, operation: str, arguments: Json, field: str
) -> None:
    error = await app.refusal("TrapSeat", operation, **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


async def fill(app: TrapApp, count: int) -> None:
    """Insert records of TrapPlain by one statement."""
    app.tables.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {count}) INSERT INTO trap_plains (label) SELECT 'row ' || n FROM numbers"
    )


async def test_a_filter_of_a_bulk_write_selects_1000_records_at_most(app: TrapApp) -> None:
    await fill(app, 1001)
    everything = {"label": {"$ne": "none"}}
    for operation, more in [("bulk_delete", {}), ("bulk_update", {"data": {"label": "x"}})]:
        error = await app.refusal("TrapPlain", operation, filter=everything, **more)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field == "filter"
    app.tables.execute("DELETE FROM trap_plains WHERE label = 'row 7'")
    deleted = await app.call("TrapPlain", "bulk_delete", filter=everything)

    assert (deleted["deleted"], app.tables.rows("TrapPlain")) == (1000, [])


async def test_nodes_search_up_to_10000_records_by_what_they_can_not_filter_and_sql_any(
    app: TrapApp,
) -> None:
    await fill(app, 10_000)
    needle = {"label": {"$ilike": "ROW 9999"}}

    found = await app.call("TrapPlain", "list", filter=needle)
    assert [each["label"] for each in found["records"]] == ["row 9999"]

    await fill(app, 1)
    if app.execution == "sql":
        assert await app.call("TrapPlain", "list", filter=needle) == found
        return
    error = await app.refusal("TrapPlain", "list", filter=needle)
    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "filter"


async def test_pages_join_up_without_gaps_or_repeats(app: TrapApp) -> None:
    await fill(app, 95)
    for arguments in (
        {},
        {"sort": ["-id"]},
        {"sort": ["label"]},
        {"filter": {"label": {"$contains": "row"}}},
        {"filter": {"label": {"$contains": "row"}}, "sort": ["-label"]},
    ):
        pages = [
            await app.call("TrapPlain", "list", limit=20, offset=offset, **arguments)
            for offset in range(0, 120, 20)
        ]
        whole = await app.call("TrapPlain", "list", limit=1000, **arguments)

        assert [page["count"] for page in pages] == [20, 20, 20, 20, 15, 0]
        assert [each for page in pages for each in page["records"]] == whole["records"]


async def test_a_list_without_arguments_is_the_first_20_by_id(app: TrapApp) -> None:
    await fill(app, 30)

    listed = await app.call("TrapPlain", "list", include_total=True)

    ids = [each["id"] for each in listed["records"]]
    assert ids == sorted(ids)
    assert (listed["count"], listed["limit"], listed["total"]) == (20, 20, 30)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": "20"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": None}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 2**31}, "offset"),
        ({"offset": "0"}, "offset"),
        ({"include_total": "yes"}, "include_total"),
        ({"include_total": 1}, "include_total"),
        ({"fields": []}, "fields"),
        ({"fields": "id"}, "fields"),
        ({"fields": ["nope"]}, "fields[0]"),
        ({"fields": ["id", 'id" --']}, "fields[1]"),
        ({"fields": ["id", None]}, "fields[1]"),
        ({"sort": "label"}, "sort"),
        ({"sort": {"label": -1}}, "sort"),
        ({"sort": [{"label": -1}]}, "sort[0]"),
        ({"filter": []}, "filter"),
        ({"filter": "label = 1"}, "filter"),
        ({"filter": None}, "filter"),
    ],
)
async def test_wrong_arguments_of_a_list_are_refused_and_named(
    app: TrapApp, arguments: Json, field: str
) -> None:
    error = await app.refusal("TrapPlain", "list", **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


async def test_generated_ids_are_unique_under_50_concurrent_creates(app: TrapApp) -> None:
    made = await asyncio.gather(
        *(app.call("TrapCounter", "create", data={"label": f"{n}"}) for n in range(50))
    )

    assert len({each["id"] for each in made}) == 50
    stored = {each["id"]: each for each in made}
    for row in app.tables.rows("TrapCounter"):
        assert stored[row[0]]["label"] == row[1]
