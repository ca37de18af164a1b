"""A caller reaches the records of its scope; for it, all others do not exist."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
)
from kailash_mcp_prod.records.arguments import ArgumentsModel
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.query import Comparison
from kailash_mcp_prod.records.results import result_schema
from kailash_mcp_prod.records.scope import OPEN, Scope
from tests.integration.records.property_values import PROFILE, conditions, orders, tables
from tests.integration.records.trap_app import Json, TrapApp
from tests.integration.records.trap_oracle import ordered, truth

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "acme' OR tenant_id = 'umbrella"


def tenant(app: TrapApp, name: str, model: str = "TrapGuest") -> Scope:
    """The scope that the executor of a tool makes for a tenant's credential."""
    field = app.models[model].tenant
    assert field is not None
    return Scope(Comparison(field, "$eq", name), {"tenant_id": name})


def guest(key: str, email: str, **more: Any) -> Json:
    return {"id": key, "email": email, **more}


async def fill(app: TrapApp) -> tuple[Scope, Scope]:
    """Two tenants with guests of the same emails."""
    acme, umbrella = tenant(app, "acme"), tenant(app, "umbrella")
    for scope, name in ((acme, "a"), (umbrella, "u")):
        await app.call(
            "TrapGuest",
            "bulk_create",
            scope=scope,
            data=[
                guest(f"{name}{n}", f"{n}@x", badge=f"{name}{n}", name=name, visits=n)
                for n in range(3)
            ],
        )
    return acme, umbrella


def owners(app: TrapApp) -> dict[str, str]:
    """The tenant of each guest, as it is stored."""
    rows = app.tables.execute("SELECT id, tenant_id FROM trap_guests")
    return {row[0]: row[1] for row in rows}


def strangers(app: TrapApp) -> list[tuple[Any, ...]]:
    """The whole rows of umbrella's guests."""
    return [row for row in app.tables.rows("TrapGuest") if "umbrella" in row]


async def test_a_new_record_belongs_to_the_tenant_that_makes_it(app: TrapApp) -> None:
    acme, _ = await fill(app)

    made = await app.call("TrapGuest", "create", scope=acme, data=guest("n1", "n1@x"))
    await app.call("TrapGuest", "upsert", scope=acme, data=guest("n2", "n2@x"))
    rows = [guest("n3", "n3@x"), guest("a1", "1@x", name="again")]
    await app.call("TrapGuest", "bulk_upsert", scope=acme, data=rows)
    by_email = await app.call(
        "TrapGuest", "upsert", scope=acme, data={"email": "n4@x"}, conflict_on=["email"]
    )

    stored = owners(app)
    assert {stored[key] for key in ("n1", "n2", "n3", "a1", by_email["id"])} == {"acme"}
    assert "tenant_id" not in made


WITHOUT_TENANT: list[tuple[str, Json]] = [
    ("create", {"data": guest("n", "n@x")}),
    ("read", {"id": "a1"}),
    ("update", {"id": "a1", "data": {"name": "x"}}),
    ("delete", {"id": "a1"}),
    ("list", {}),
    ("list", {"filter": {"id": "a1"}, "include_total": True}),
    ("count", {}),
    ("aggregate", {}),
    ("aggregate", {"group_by": ["name"]}),
    ("upsert", {"data": guest("a1", "1@x")}),
    ("bulk_create", {"data": [guest("n", "n@x")]}),
    ("bulk_update", {"data": [{"id": "a1", "name": "x"}]}),
    ("bulk_update", {"filter": {"id": "a1"}, "data": {"name": "x"}}),
    ("bulk_delete", {"ids": ["a1"]}),
    ("bulk_delete", {"filter": {"id": "a1"}}),
    ("bulk_upsert", {"data": [guest("a1", "1@x")]}),
]


@pytest.mark.parametrize(("operation", "arguments"), WITHOUT_TENANT)
async def test_without_a_tenant_no_record_of_anybody_is_reached(
    app: TrapApp, operation: str, arguments: Json
) -> None:
    await fill(app)
    rows = parse_filter(app.models["TrapGuest"], {"id": {"$null": False}})
    for scope in (OPEN, Scope(rows), Scope(rows, {"name": "x"})):
        error = await app.refusal("TrapGuest", operation, scope=scope, **arguments)

        assert isinstance(error, ForbiddenError)
        assert "tenant" in error.message


OTHERS: list[tuple[str, Json]] = [
    ("read", {"id": "u1"}),
    ("read", {"id": "u1", "fields": ["email"]}),
    ("update", {"id": "u1", "data": {"name": "x"}}),
    ("update", {"id": "u1", "data": {"name": "x"}, "expected": {"name": "u"}}),
    ("update", {"id": "u1", "data": {"name": "x"}, "expected": {"name": "wrong"}}),
    ("delete", {"id": "u1"}),
    ("bulk_update", {"data": [{"id": "a1", "name": "x"}, {"id": "u1", "name": "x"}]}),
    ("bulk_delete", {"ids": ["a1", "u1"]}),
]


@pytest.mark.parametrize(("operation", "arguments"), OTHERS)
async def test_the_record_of_another_tenant_is_not_found(
    app: TrapApp, operation: str, arguments: Json
) -> None:
    acme, _ = await fill(app)
    absent = json.loads(json.dumps(arguments).replace("u1", "zz"))

    error = await app.refusal("TrapGuest", operation, scope=acme, **arguments)
    same = await app.refusal("TrapGuest", operation, scope=acme, **absent)

    assert isinstance(error, NotFoundError)
    assert error.details == {"id": "u1"}
    # Nothing tells a record of somebody else from one that nobody has.
    assert error.message == same.message.replace("zz", "u1")


async def test_lists_and_counts_know_the_records_of_the_tenant_alone(app: TrapApp) -> None:
    acme, umbrella = await fill(app)
    filters: list[Json] = [
        {},
        {"email": {"$like": "%"}},
        {"$or": [{"name": "a"}, {"name": "u"}]},
        {"$not": {"name": "nobody"}},
        {"id": {"$in": ["a0", "a1", "a2", "u0", "u1", "u2"]}},
        {"$or": [{"id": "u0"}, {"visits": {"$gte": 0}}]},
        {"visits": {"$gte": 0, "$lt": 9}, "$not": {"$not": {"name": {"$ilike": "%"}}}},
    ]
    for scope, name in ((acme, "a"), (umbrella, "u")):
        for condition in filters:
            listed = await app.call(
                "TrapGuest", "list", scope=scope, filter=condition, include_total=True, limit=2
            )
            counted = await app.call("TrapGuest", "count", scope=scope, filter=condition)
            rest = await app.call(
                "TrapGuest",
                "list",
                scope=scope,
                filter=condition,
                limit=2,
                cursor=listed["next_cursor"],
            )

            found = [each["id"] for page in (listed, rest) for each in page["records"]]
            assert found == [f"{name}{n}" for n in range(3)]
            assert (listed["total"], counted["count"]) == (3, 3)
        assert await app.call("TrapGuest", "count", scope=scope, filter={"id": {"$in": []}}) == {
            "count": 0
        }


@pytest.mark.parametrize(
    "condition",
    [
        {"id": {"$null": False}},
        {"name": {"$in": ["a", "u"]}},
        {"$or": [{"id": "u0"}, {"email": {"$like": "%@x"}}]},
        {"$not": {"visits": {"$gt": 99}}},
    ],
)
async def test_a_bulk_write_by_filter_leaves_the_other_tenant_alone(
    app: TrapApp, condition: Json
) -> None:
    acme, _ = await fill(app)
    before = strangers(app)

    updated = await app.call(
        "TrapGuest", "bulk_update", scope=acme, filter=condition, data={"name": "x"}
    )
    by_ids = await app.call(
        "TrapGuest", "bulk_update", scope=acme, data=[{"id": "a0", "name": "x"}]
    )
    deleted = await app.call(
        "TrapGuest",
        "bulk_delete",
        scope=acme,
        filter=json.loads(json.dumps(condition).replace('"a"', '"x"')),
    )

    assert sorted(updated["ids"]) == ["a0", "a1", "a2"]
    assert by_ids["updated"] == 1
    assert sorted(deleted["ids"]) == ["a0", "a1", "a2"]
    assert len(before) == 3
    assert app.tables.rows("TrapGuest") == before


async def test_the_same_unique_key_may_be_there_once_for_each_tenant(app: TrapApp) -> None:
    acme, umbrella = await fill(app)

    error = await app.refusal("TrapGuest", "create", scope=acme, data=guest("new", "1@x"))
    upserted = [
        await app.call(
            "TrapGuest",
            "upsert",
            scope=scope,
            data={"email": "1@x", "visits": 7},
            conflict_on=["email"],
        )
        for scope in (acme, umbrella)
    ]

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["email"]}
    assert [(each["id"], each["created"]) for each in upserted] == [("a1", False), ("u1", False)]


@pytest.mark.parametrize("operation", ["upsert", "bulk_upsert"])
@pytest.mark.parametrize(
    ("row", "unique", "taken"),
    [
        (guest("u1", "new@x"), ["id"], ["id"]),
        (guest("u1", "1@x"), ["id"], ["id"]),
        (guest("u1", "new@x"), ["email"], ["id"]),
        ({"email": "new@x", "badge": "u1"}, ["badge"], ["badge"]),
        ({"email": "new@x", "badge": "u1"}, ["email"], ["badge"]),
        (guest("new", "new@x", badge="u1"), ["id"], ["badge"]),
    ],
)
async def test_an_upsert_never_changes_the_record_of_another_tenant(
    app: TrapApp, operation: str, row: Json, unique: list[str], taken: list[str]
) -> None:
    acme, _ = await fill(app)

    error = await app.refusal(
        "TrapGuest",
        operation,
        scope=acme,
        data=row if operation == "upsert" else [guest("a1", "1@x", badge="a1", name="x"), row],
        conflict_on=unique,
    )

    assert isinstance(error, ConflictError)
    told = json.dumps(error.to_dict("r"))
    assert "umbrella" not in told
    assert "tenant" not in told
    # Which key collides first is the database's choice where both do.
    assert error.details in ({"unique_key": taken}, {"unique_key": ["email"]})
    if row["email"] == "new@x":
        assert error.details == {"unique_key": taken}


@pytest.mark.parametrize("operation", ["create", "bulk_create", "update", "bulk_update"])
async def test_a_key_that_another_tenant_has_is_a_conflict_that_tells_nothing(
    app: TrapApp, operation: str
) -> None:
    acme, _ = await fill(app)
    calls: dict[str, Json] = {
        "create": {"data": {"email": "new@x", "badge": "u1"}},
        "bulk_create": {"data": [{"email": "new@x"}, {"email": "newer@x", "badge": "u1"}]},
        "update": {"id": "a1", "data": {"badge": "u1"}},
        "bulk_update": {"data": [{"id": "a1", "badge": "u1"}]},
    }

    error = await app.refusal("TrapGuest", operation, scope=acme, **calls[operation])

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": ["badge"]}
    assert "umbrella" not in str(error.to_dict("r"))


FORGED: list[tuple[str, Json, str]] = [
    ("create", {"data": guest("f", "f@x", tenant_id="umbrella")}, "data.tenant_id"),
    ("create", {"data": guest("f", "f@x"), "tenant_id": "umbrella"}, "tenant_id"),
    ("bulk_create", {"data": [guest("f", "f@x", tenant_id="umbrella")]}, "data[0].tenant_id"),
    ("update", {"id": "a1", "data": {"tenant_id": "umbrella"}}, "data.tenant_id"),
    (
        "update",
        {"id": "a1", "data": {"name": "x"}, "expected": {"tenant_id": "acme"}},
        "expected.tenant_id",
    ),
    ("bulk_update", {"data": [{"id": "a1", "tenant_id": "umbrella"}]}, "data[0].tenant_id"),
    (
        "bulk_update",
        {"filter": {"id": "a1"}, "data": {"tenant_id": "umbrella"}},
        "data.tenant_id",
    ),
    ("upsert", {"data": guest("a1", "1@x", tenant_id="umbrella")}, "data.tenant_id"),
    ("upsert", {"data": guest("a1", "1@x"), "conflict_on": ["tenant_id", "email"]}, "conflict_on"),
    ("bulk_upsert", {"data": [guest("a1", "1@x", tenant_id="umbrella")]}, "data[0].tenant_id"),
    ("list", {"filter": {"tenant_id": "umbrella"}}, "filter.tenant_id"),
    (
        "list",
        {"filter": {"$or": [{"id": "a1"}, {"tenant_id": {"$ne": "acme"}}]}},
        "filter.$or[1].tenant_id",
    ),
    ("list", {"sort": ["tenant_id"]}, "sort[0]"),
    ("list", {"fields": ["tenant_id"]}, "fields[0]"),
    ("read", {"id": "a1", "fields": ["tenant_id"]}, "fields[0]"),
    ("read", {"id": "a1", "tenant_id": "umbrella"}, "tenant_id"),
    ("count", {"filter": {"tenant_id": {"$null": False}}}, "filter.tenant_id"),
    ("bulk_delete", {"filter": {"tenant_id": "umbrella"}}, "filter.tenant_id"),
]


@pytest.mark.parametrize(("operation", "arguments", "field"), FORGED)
async def test_a_forged_tenant_is_an_unknown_argument(
    app: TrapApp, operation: str, arguments: Json, field: str
) -> None:
    acme, _ = await fill(app)

    error = await app.refusal("TrapGuest", operation, scope=acme, **arguments)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


async def test_no_schema_and_no_result_mentions_the_tenant(app: TrapApp) -> None:
    acme, _ = await fill(app)
    for model in ("TrapGuest", "TrapTicket"):
        for operation in Operation:
            described = app.models[model]
            schemas = (
                ArgumentsModel(described, operation).schema,
                result_schema(described, operation),
            )
            assert "tenant_id" not in json.dumps(schemas)
    calls: list[tuple[str, Json]] = [
        ("read", {"id": "a1"}),
        ("list", {}),
        ("update", {"id": "a1", "data": {"name": "x"}}),
        ("upsert", {"data": guest("a1", "1@x")}),
        ("create", {"data": guest("new", "new@x")}),
    ]
    for name, arguments in calls:
        result = await app.call("TrapGuest", name, scope=acme, **arguments)

        told = json.dumps(result)
        assert "tenant" not in told
        assert "acme" not in told


@pytest.mark.parametrize("name", [HOSTILE, "%", "_", "acme ", "ACME", "a\\", "🎉", "x" * 255])
async def test_a_tenant_is_whoever_has_exactly_that_name(app: TrapApp, name: str) -> None:
    await fill(app)
    scope = tenant(app, name)

    nothing = await app.call("TrapGuest", "list", scope=scope, include_total=True)
    await app.call("TrapGuest", "create", scope=scope, data=guest("mine", "1@x"))
    own = await app.call("TrapGuest", "list", scope=scope)
    deleted = await app.call(
        "TrapGuest", "bulk_delete", scope=scope, filter={"id": {"$null": False}}
    )

    assert (nothing["records"], nothing["total"]) == ([], 0)
    assert [each["id"] for each in own["records"]] == ["mine"]
    assert deleted["ids"] == ["mine"]
    assert len(owners(app)) == 6


async def test_a_cursor_of_one_tenant_continues_no_list_of_another(app: TrapApp) -> None:
    acme, umbrella = await fill(app)
    first = await app.call("TrapGuest", "list", scope=acme, limit=1)

    error = await app.refusal(
        "TrapGuest", "list", scope=umbrella, limit=1, cursor=first["next_cursor"]
    )

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "cursor"


async def test_tenants_share_numbers_and_tombstones_of_theirs_stay_theirs(app: TrapApp) -> None:
    acme, umbrella = (tenant(app, name, "TrapTicket") for name in ("acme", "umbrella"))
    made = {}
    for name, scope in (("acme", acme), ("umbrella", umbrella)):
        rows = [{"subject": f"{name} {n}", "number": n} for n in range(3)]
        made[name] = (await app.call("TrapTicket", "bulk_create", scope=scope, data=rows))["ids"]

    await app.call("TrapTicket", "delete", scope=acme, id=made["acme"][0])
    other = await app.refusal("TrapTicket", "delete", scope=acme, id=made["umbrella"][0])
    taken = await app.refusal(
        "TrapTicket", "upsert", scope=acme, data={"subject": "again", "number": 0}
    )
    kept = await app.call(
        "TrapTicket", "upsert", scope=umbrella, data={"subject": "changed", "number": 0}
    )
    new = await app.call("TrapTicket", "upsert", scope=acme, data={"subject": "new", "number": 9})

    assert isinstance(other, NotFoundError)
    assert isinstance(taken, ConflictError)
    assert taken.details == {"unique_key": ["number"]}
    assert (kept["id"], kept["created"]) == (made["umbrella"][0], False)
    assert new["created"]
    assert await app.call("TrapTicket", "count", scope=acme) == {"count": 3}
    assert await app.call("TrapTicket", "count", scope=umbrella) == {"count": 3}


async def test_a_transaction_keeps_to_the_scope_of_each_operation(app: TrapApp) -> None:
    acme, umbrella = await fill(app)
    model = app.models["TrapGuest"]
    everybody = parse_filter(model, {"visits": {"$gte": 0}})

    async with app.store.transaction() as records:
        await records.update_where(model, everybody, {"name": "x"}, acme)
        await records.delete_where(model, parse_filter(model, {"visits": 2}), umbrella)
        await records.create(model, model.complete(guest("new", "new@x")), umbrella)
        counted = [await records.count(model, everybody, scope) for scope in (acme, umbrella)]

    assert counted == [3, 3]
    assert owners(app) == {
        **dict.fromkeys(("a0", "a1", "a2"), "acme"),
        **dict.fromkeys(("u0", "u1", "new"), "umbrella"),
    }


ROW_SCOPES: list[Json] = [
    {"guest": "mine"},
    {"$or": [{"guest": "mine"}, {"guest": "nobody"}]},
    {"$not": {"guest": {"$ne": "mine"}}, "guest": {"$null": False}},
    {"guest": {"$ilike": "MI_E"}},
    {"price": {"$lt": "9.5"}, "guest": {"$contains": "in"}},
]


@pytest.mark.parametrize("rows", ROW_SCOPES)
async def test_any_condition_may_bound_every_operation(app: TrapApp, rows: Json) -> None:
    model = app.models["TrapSeat"]
    price = model.types["price"].from_json
    scope = Scope(parse_filter(model, rows), {"guest": "mine", "price": price("9.00")})
    await app.call(
        "TrapSeat",
        "bulk_create",
        data=[
            {"id": f"{name}{n}", "row": name, "number": n, "guest": guest_name, "price": "9.00"}
            for name, guest_name in (("m", "mine"), ("t", "theirs"), ("n", None))
            for n in range(4)
        ],
    )
    others = [row for row in app.tables.rows("TrapSeat") if row[0][0] in "tn"]

    async def call(operation: str, **arguments: Any) -> Json:
        return await app.call("TrapSeat", operation, scope=scope, **arguments)

    async def refused(operation: str, **arguments: Any) -> type[ServerError]:
        return type(await app.refusal("TrapSeat", operation, scope=scope, **arguments))

    everything = {"id": {"$null": False}}
    place = ["row", "number"]
    made = await call("create", data={"row": "c", "number": 1, "guest": "theirs", "price": "99"})
    more = await call("bulk_create", data=[{"row": "c", "number": n} for n in (2, 3)])
    assert (made["guest"], made["price"]) == ("mine", "9.00")
    for key in ("t1", "n1"):
        assert await refused("read", id=key) is NotFoundError
        assert await refused("update", id=key, data={"row": "x"}) is NotFoundError
        assert await refused("delete", id=key) is NotFoundError
        rows_with_other = [{"id": "m1", "code": "x"}, {"id": key, "code": "y"}]
        assert await refused("bulk_update", data=rows_with_other) is NotFoundError
        assert await refused("bulk_delete", ids=["m1", key]) is NotFoundError
        assert await refused("upsert", data={"id": key, "row": "x", "number": 1}) is ConflictError
        other_place = {"row": key[0], "number": 1}
        assert await refused("upsert", data=other_place, conflict_on=place) is ConflictError
        assert await refused("bulk_upsert", data=[other_place], conflict_on=place) is ConflictError
    upserted = await call("upsert", data={"row": "m", "number": 1, "code": "u"}, conflict_on=place)
    new = await call("upsert", data={"row": "u", "number": 1}, conflict_on=place)
    both = await call(
        "bulk_upsert",
        data=[{"row": "m", "number": 2, "code": "v"}, {"row": "u", "number": 2}],
        conflict_on=place,
    )
    updated = await call("update", id="m3", data={"code": "w"}, expected={"guest": "mine"})
    assert (upserted["id"], upserted["created"], new["created"]) == ("m1", False, True)
    assert (new["guest"], both["created"], both["updated"]) == ("mine", 1, 1)
    assert updated["code"] == "w"
    mine = {"m0", "m1", "m2", "m3", made["id"], *more["ids"], new["id"], both["ids"][1]}
    listed = await call("list", filter=everything, include_total=True, sort=["-price", "code"])
    assert {each["id"] for each in listed["records"]} == mine
    assert (listed["total"], (await call("count"))["count"]) == (9, 9)
    assert (await call("read", id="m0"))["guest"] == "mine"
    by_ids = await call("bulk_update", data=[{"id": key, "number": 70} for key in ("m0",)])
    everywhere = await call("bulk_update", filter=everything, data={"price": "8.00"})
    assert by_ids["ids"] == ["m0"]
    assert set(everywhere["ids"]) == mine
    assert (await call("delete", id="m0"))["deleted"]
    assert (await call("bulk_delete", ids=["m1"]))["deleted"] == 1
    assert set((await call("bulk_delete", filter=everything))["ids"]) == mine - {"m0", "m1"}
    assert app.tables.rows("TrapSeat") == others


@pytest.mark.timeout(300)
@settings(PROFILE, max_examples=6)
@given(data=st.data())
async def test_a_generated_scope_bounds_a_generated_filter(
    app: TrapApp, data: st.DataObject
) -> None:
    app.tables.clear()
    await app.call("TrapMatter", "bulk_create", data=data.draw(tables()))
    records = (await app.call("TrapMatter", "list", limit=1000))["records"]
    for _ in range(12):
        bound = data.draw(conditions(records, depth=3))
        condition = data.draw(st.just({}) | conditions(records, depth=2))
        names = ("level", "text", "moment", "whole", "id")
        sort = [each for each in data.draw(orders()) if each.removeprefix("-") in names]
        scope = Scope(parse_filter(app.models["TrapMatter"], bound))

        listed = await app.call(
            "TrapMatter",
            "list",
            scope=scope,
            filter=condition,
            sort=sort,
            limit=1000,
            include_total=True,
        )
        counted = await app.call("TrapMatter", "count", scope=scope, filter=condition)

        reached = [
            each
            for each in records
            if truth(bound, each) is True and truth(condition, each) is True
        ]
        assert [each["id"] for each in listed["records"]] == ordered(reached, sort), bound
        assert listed["total"] == counted["count"] == len(reached)
