"""Nobody reaches the records of another tenant through DataFlow's nodes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg2
import pytest
import pytest_asyncio
from dataflow import DataFlow

from kailash_mcp_prod.errors import ConflictError, ForbiddenError, NotFoundError
from kailash_mcp_prod.records.aggregates import Aggregation
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.prepare import prepare_database
from kailash_mcp_prod.records.query import EVERYTHING, All, Comparison, Query
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import Records

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TenantContact:
    """A record with a key of ours, and a unique key within each tenant."""

    id: str
    email: str
    where: str = "here"
    nick: str | None = None
    qty: int = 0

    __dataflow__: ClassVar[dict[str, Any]] = {
        "multi_tenant": True,
        "indexes": [{"name": "uq_contact", "fields": ["tenant_id", "email"], "unique": True}],
    }


class TenantTicket:
    """A record with a key of the database, and tombstones."""

    id: int
    label: str

    __dataflow__: ClassVar[dict[str, Any]] = {"multi_tenant": True, "soft_delete": True}


@dataclass(frozen=True)
class Tenants:
    """A store with both models."""

    db: Any
    url: str
    store: NodeStore
    contact: Model
    ticket: Model

    def scope(self, tenant: str) -> Scope:
        assert self.contact.tenant is not None
        return Scope(Comparison(self.contact.tenant, "$eq", tenant), {"tenant_id": tenant})

    def stored(self, columns: str, model: Model) -> list[tuple[Any, ...]]:
        """Columns of all rows, tombstones too."""
        return self.execute(f'SELECT {columns} FROM "{model.table}" ORDER BY "id"')

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Executes a statement without the code under test."""
        connection: Any = (
            sqlite3.connect(self.url.removeprefix("sqlite:///"))
            if self.url.startswith("sqlite")
            else psycopg2.connect(self.url)
        )
        with closing(connection), connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    async def fill(self) -> tuple[int, int]:
        """One contact and one ticket of each tenant; the keys of the tickets."""
        for tenant in "ab":
            await self.store.create(
                self.contact,
                self.contact.complete({"id": f"of-{tenant}", "email": "x@example.org"}),
                self.scope(tenant),
            )
        [of_a] = await self.store.create_many(self.ticket, [{"label": "a"}], self.scope("a"))
        [of_b] = await self.store.create_many(self.ticket, [{"label": "b"}], self.scope("b"))
        return of_a, of_b


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[False, True], ids=["option", "instance"]
)
async def shared(request: pytest.FixtureRequest, tenant_url: str) -> AsyncIterator[Tenants]:
    """The option of a model, and that of the whole DataFlow instance."""
    db = DataFlow(
        tenant_url,
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
        multi_tenant=request.param,
    )
    for each in (TenantContact, TenantTicket):
        db.model(type(each.__name__, (), dict(vars(each))))
    contact, ticket = (await prepare_database(db)).models
    store = NodeStore(DataFlowSession(db))
    try:
        yield Tenants(db, tenant_url, store, contact, ticket)
    finally:
        await store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def tenant_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('tenants') / 'tenants.db'}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
def tenants(shared: Tenants) -> Iterator[Tenants]:
    """Empty tables, and no tenant that the application has registered."""
    for model in (shared.contact, shared.ticket):
        shared.execute(f'DELETE FROM "{model.table}"')
    yield shared
    for each in shared.db.tenant_context.list_tenants():
        shared.db.tenant_context.unregister_tenant(each.tenant_id)


async def test_a_new_record_belongs_to_the_tenant_whatever_was_given(tenants: Tenants) -> None:
    row = tenants.contact.complete({"id": "k", "email": "x"})

    created = await tenants.store.create(
        tenants.contact, {**row, "tenant_id": "b"}, tenants.scope("a")
    )

    assert "tenant_id" not in created
    assert created["email"] == "x"
    assert tenants.stored('"id", "tenant_id"', tenants.contact) == [("k", "a")]


async def test_each_tenant_finds_its_own_records_alone(tenants: Tenants) -> None:
    of_a, of_b = await tenants.fill()
    store, contact, ticket = tenants.store, tenants.contact, tenants.ticket

    for tenant, key in (("a", of_a), ("b", of_b)):
        scope = tenants.scope(tenant)
        query = Query(sort=parse_sort(contact, ["-qty", "where"]))
        page = await store.find(contact, query, scope)
        assert [row["id"] for row in page.rows] == [f"of-{tenant}"]
        assert page.rows[0].keys() == contact.types.keys()
        assert await store.count(contact, EVERYTHING, scope) == 1
        assert (await store.read(contact, f"of-{tenant}", scope))["email"] == "x@example.org"
        assert (await store.read(ticket, key, scope))["label"] == tenant
    assert await store.count(contact, EVERYTHING, tenants.scope("c")) == 0


FILTERS: list[dict[str, Any]] = [
    {},
    {"email": "x@example.org"},
    {"email": {"$ne": "y"}, "qty": {"$gte": 0}},
    {"nick": None},
    {"id": {"$in": ["of-a", "of-b", *map(str, range(490))]}},
    {"id": {"$gt": "of"}},
    {"where": {"$like": "%"}},
    {"where": {"$ilike": "HER_"}},
    {"$or": [{"email": "x@example.org"}, {"nick": None}]},
    {"$not": {"email": "y"}},
]


@pytest.mark.parametrize("raw", FILTERS, ids=lambda raw: str(raw)[:30])
async def test_no_filter_selects_records_of_another_tenant(
    tenants: Tenants, raw: dict[str, Any]
) -> None:
    await tenants.fill()
    condition, scope = parse_filter(tenants.contact, raw), tenants.scope("a")
    query = Query(condition, parse_sort(tenants.contact, None))

    page = await tenants.store.find(tenants.contact, query, scope)
    counted = await tenants.store.count(tenants.contact, condition, scope)
    changed = await tenants.store.update_where(tenants.contact, condition, {"qty": 7}, scope)
    deleted = await tenants.store.delete_where(tenants.contact, condition, scope)

    assert [row["id"] for row in page.rows] == ["of-a"]
    assert (counted, changed, deleted) == (1, ["of-a"], ["of-a"])
    assert tenants.stored('"id", "tenant_id", "qty"', tenants.contact) == [("of-b", "b", 0)]


ByKey = Callable[[Records, Model, Any, Scope], Awaitable[Any]]
BY_KEY: dict[str, ByKey] = {
    "read": lambda to, model, key, scope: to.read(model, key, scope),
    "delete": lambda to, model, key, scope: to.delete(model, key, scope),
    "delete_many": lambda to, model, key, scope: to.delete_many(model, [key], scope),
    "update": lambda to, model, key, scope: to.update(model, key, CHANGES[model.name], {}, scope),
    "update_many": lambda to, model, key, scope: to.update_many(
        model, [(key, CHANGES[model.name])], scope
    ),
}
CHANGES: dict[str, dict[str, Any]] = {
    "TenantContact": {"qty": 9},
    "TenantTicket": {"label": "changed"},
}


@pytest.mark.parametrize("how", BY_KEY)
async def test_a_record_of_another_tenant_is_as_one_that_does_not_exist(
    tenants: Tenants, how: str
) -> None:
    _, of_b = await tenants.fill()
    before = tenants.stored("*", tenants.contact), tenants.stored("*", tenants.ticket)

    for model, theirs, absent in (
        (tenants.contact, "of-b", "of-c"),
        (tenants.ticket, of_b, of_b + 1),
    ):
        messages = []
        for key in (theirs, absent):
            with pytest.raises(NotFoundError) as caught:
                await BY_KEY[how](tenants.store, model, key, tenants.scope("a"))
            messages.append(caught.value.message.replace(str(key), "<key>"))
        assert messages[0] == messages[1]

    assert (tenants.stored("*", tenants.contact), tenants.stored("*", tenants.ticket)) == before


async def test_an_upsert_recognises_records_of_its_tenant_alone(tenants: Tenants) -> None:
    await tenants.fill()
    rows: list[Row] = [{"email": "x@example.org", "qty": 5}, {"email": "new@example.org"}]

    outcomes = await tenants.store.upsert_many(
        tenants.contact, rows, ("email",), tenants.scope("a")
    )

    assert [each.created for each in outcomes] == [False, True]
    assert outcomes[0].id == "of-a"
    assert sorted(tenants.stored('"tenant_id", "email", "qty"', tenants.contact)) == [
        ("a", "new@example.org", 0),
        ("a", "x@example.org", 5),
        ("b", "x@example.org", 0),
    ]


async def test_an_upsert_never_takes_over_a_key_of_another_tenant(tenants: Tenants) -> None:
    await tenants.fill()
    row = {"id": "of-b", "email": "y", "qty": 5}

    with pytest.raises(ConflictError) as caught:
        await tenants.store.upsert_many(tenants.contact, [row], ("id",), tenants.scope("a"))

    assert caught.value.details == {"unique_key": ["id"]}
    assert tenants.stored('"id", "tenant_id", "qty"', tenants.contact) == [
        ("of-a", "a", 0),
        ("of-b", "b", 0),
    ]


async def test_a_taken_unique_key_does_not_name_the_tenant(tenants: Tenants) -> None:
    await tenants.fill()
    row = tenants.contact.complete({"email": "x@example.org"})

    with pytest.raises(ConflictError) as caught:
        await tenants.store.create(tenants.contact, row, tenants.scope("a"))

    assert caught.value.details == {"unique_key": ["email"]}
    assert "tenant" not in caught.value.message


async def test_a_deleted_record_stays_its_tenants(tenants: Tenants) -> None:
    of_a, _ = await tenants.fill()
    await tenants.store.delete(tenants.ticket, of_a, tenants.scope("a"))

    assert await tenants.store.count(tenants.ticket, EVERYTHING, tenants.scope("a")) == 0
    assert await tenants.store.count(tenants.ticket, EVERYTHING, tenants.scope("b")) == 1
    assert [
        (tenant, gone is not None)
        for tenant, gone in tenants.stored('"tenant_id", "deleted_at"', tenants.ticket)
    ] == [("a", True), ("b", False)]


Call = Callable[[Records, Model, Scope], Awaitable[Any]]


def on_their_own(by_key: ByKey) -> Call:
    return lambda to, model, scope: by_key(to, model, "of-a", scope)


CALLS: dict[str, Call] = {
    "create": lambda to, model, scope: to.create(model, model.complete({"email": "y"}), scope),
    "create_many": lambda to, model, scope: to.create_many(
        model, [model.complete({"email": "y"})], scope
    ),
    "find": lambda to, model, scope: to.find(model, Query(sort=parse_sort(model, None)), scope),
    "count": lambda to, model, scope: to.count(model, EVERYTHING, scope),
    "aggregate": lambda to, model, scope: to.aggregate(model, Aggregation(EVERYTHING), scope),
    "update_where": lambda to, model, scope: to.update_where(model, EVERYTHING, {"qty": 1}, scope),
    "delete_where": lambda to, model, scope: to.delete_where(model, EVERYTHING, scope),
    "upsert_many": lambda to, model, scope: to.upsert_many(model, [{"email": "y"}], ("id",), scope),
    **{name: on_their_own(by_key) for name, by_key in BY_KEY.items()},
}


@pytest.mark.parametrize("how", CALLS)
async def test_without_a_tenant_nothing_can_be_done(tenants: Tenants, how: str) -> None:
    await tenants.fill()
    before = tenants.stored("*", tenants.contact)

    for scope in (OPEN, Scope(values={"tenant_id": ""}), Scope(values={"tenant_id": None})):
        with pytest.raises(ForbiddenError, match="names no tenant"):
            await CALLS[how](tenants.store, tenants.contact, scope)

    assert tenants.stored("*", tenants.contact) == before


async def test_the_values_of_a_scope_bound_it_even_if_its_rows_do_not(tenants: Tenants) -> None:
    await tenants.fill()

    found = await tenants.store.count(
        tenants.contact, EVERYTHING, Scope(EVERYTHING, {"tenant_id": "a"})
    )

    assert found == 1


async def test_a_scope_for_two_tenants_reaches_neither(tenants: Tenants) -> None:
    await tenants.fill()
    rows, values = tenants.scope("a").rows, tenants.scope("b").values

    assert await tenants.store.count(tenants.contact, EVERYTHING, Scope(rows, values)) == 0


async def test_a_transaction_may_work_for_several_tenants(tenants: Tenants) -> None:
    await tenants.fill()

    async with tenants.store.transaction() as records:
        for tenant in "ab":
            await records.update(
                tenants.contact, f"of-{tenant}", {"nick": tenant}, {}, tenants.scope(tenant)
            )
        counted = await records.count(
            tenants.contact,
            All((parse_filter(tenants.contact, {"nick": "b"}),)),
            tenants.scope("a"),
        )

    assert counted == 0
    assert tenants.stored('"nick"', tenants.contact) == [("a",), ("b",)]


async def test_calls_of_many_tenants_at_once_do_not_mix(tenants: Tenants) -> None:
    async def work(tenant: str) -> None:
        scope = tenants.scope(tenant)
        for number in range(3):
            row = tenants.contact.complete({"email": f"{number}", "nick": tenant})
            await tenants.store.create(tenants.contact, row, scope)
        await tenants.store.update_where(tenants.contact, EVERYTHING, {"where": tenant}, scope)
        page = await tenants.store.find(
            tenants.contact, Query(sort=parse_sort(tenants.contact, ["email"])), scope
        )
        assert [(row["email"], row["nick"]) for row in page.rows] == [
            (f"{number}", tenant) for number in range(3)
        ]

    names = [f"tenant-{number}" for number in range(12)]
    await asyncio.gather(*(work(name) for name in names))

    rows = tenants.stored('"tenant_id", "nick", "where"', tenants.contact)
    assert sorted(rows) == sorted((name, name, name) for name in names for _ in range(3))


async def test_tenants_are_not_kept_in_memory(tenants: Tenants) -> None:
    known = tenants.db.tenant_context
    known.register_tenant("a", "Registered by the application")

    await tenants.fill()
    with pytest.raises(NotFoundError):
        await tenants.store.read(tenants.contact, "nobody", tenants.scope("z"))

    assert [each.tenant_id for each in known.list_tenants()] == ["a"]
    assert known.get_current_tenant() is None


async def test_an_application_can_shut_a_tenant_out(tenants: Tenants) -> None:
    await tenants.fill()
    known = tenants.db.tenant_context
    known.register_tenant("a", "A")
    known.deactivate_tenant("a")

    with pytest.raises(ForbiddenError, match="not active"):
        await tenants.store.count(tenants.contact, EVERYTHING, tenants.scope("a"))

    assert await tenants.store.count(tenants.contact, EVERYTHING, tenants.scope("b")) == 1
