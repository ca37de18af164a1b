"""What the store that runs DataFlow's nodes does besides the tools: scopes, pages, lost commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import pytest_asyncio
from dataflow import DataFlow

from kailash_mcp_prod.errors import (
    ConflictError,
    InvalidArgumentsError,
    NotFoundError,
    UnavailableError,
)
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.node_transaction import orders_code_points
from kailash_mcp_prod.records.paging import following
from kailash_mcp_prod.records.prepare import prepare_database
from kailash_mcp_prod.records.query import EVERYTHING, All, Condition, Query, sort_rows
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES
from tests.integration.records.cutting_proxy import CuttingProxy, cutting_proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")


class NodeNote:
    """A record of an owner."""

    id: str
    owner: str
    text: str
    qty: int = 0
    size: int | None = None
    flag: bool = False


@dataclass(frozen=True)
class Notes:
    """A store with one model."""

    store: NodeStore
    session: DataFlowSession
    model: Model

    def where(self, raw: dict[str, Any]) -> Condition:
        return parse_filter(self.model, raw)

    def of(self, owner: str) -> Scope:
        """A caller who reaches the notes of one owner with small numbers only."""
        rows = self.where({"owner": owner, "$or": [{"qty": {"$lt": 100}}, {"qty": {"$gt": 900}}]})
        return Scope(rows, {"owner": owner})

    async def add(self, key: str, owner: str, **more: Any) -> None:
        row = self.model.complete({"id": key, "owner": owner, "text": "t", **more})
        await self.store.create(self.model, row)

    async def keys(self) -> list[str]:
        query = Query(sort=parse_sort(self.model, None), limit=1000, fields=("id",))
        return [row["id"] for row in (await self.store.find(self.model, query)).rows]


@asynccontextmanager
async def notes_on(url: str) -> AsyncIterator[Notes]:
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    db.model(type("NodeNote", (), dict(vars(NodeNote))))
    [model] = (await prepare_database(db)).models
    session = DataFlowSession(db)
    store = NodeStore(session)
    try:
        yield Notes(store, session, model)
    finally:
        await store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def notes_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('notes') / 'notes.db'}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(notes_url: str) -> AsyncIterator[Notes]:
    async with notes_on(notes_url) as notes:
        yield notes


@pytest_asyncio.fixture(loop_scope="session")
async def notes(shared: Notes) -> Notes:
    """The store with an empty table."""
    while keys := await shared.keys():
        await shared.store.delete_many(shared.model, keys)
    return shared


async def test_a_scope_bounds_what_is_found_and_counted(notes: Notes) -> None:
    await notes.add("mine", "me", qty=1)
    await notes.add("hidden", "me", qty=500)
    await notes.add("theirs", "you", qty=1)
    query = Query(sort=parse_sort(notes.model, ["-qty"]))

    for raw, expected in (
        ({}, ["mine"]),
        ({"qty": {"$gte": 0}}, ["mine"]),
        ({"$not": {"id": "x"}}, ["mine"]),
        ({"owner": "you"}, []),
        ({"id": {"$in": ["hidden", "theirs"]}}, []),
    ):
        condition = notes.where(raw)
        page = await notes.store.find(notes.model, Query(condition, query.sort), notes.of("me"))
        assert [row["id"] for row in page.rows] == expected
        assert await notes.store.count(notes.model, condition, notes.of("me")) == len(expected)


@pytest.mark.parametrize("key", ["hidden", "theirs", "absent"])
async def test_a_record_outside_of_a_scope_is_not_found(notes: Notes, key: str) -> None:
    await notes.add("hidden", "me", qty=500)
    await notes.add("theirs", "you", qty=1)
    store, model, scope = notes.store, notes.model, notes.of("me")

    for call in (
        store.read(model, key, scope),
        store.update(model, key, {"qty": 2}, {}, scope),
        store.update(model, key, {"qty": 2}, {"qty": 77}, scope),
        store.update_many(model, [(key, {"qty": 2})], scope),
        store.delete(model, key, scope),
        store.delete_many(model, [key], scope),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.details == {"id": key}
        assert caught.value.message == (
            f"There is no NodeNote with the id '{key}'. Find ids with NodeNote_list. "
            "Nothing was changed."
        )

    assert (await store.read(model, "hidden"))["qty"] == 500
    assert (await store.read(model, "theirs"))["qty"] == 1


async def test_a_scope_bounds_what_is_changed_and_deleted_by_filter(notes: Notes) -> None:
    await notes.add("mine", "me", qty=1)
    await notes.add("hidden", "me", qty=500)
    await notes.add("theirs", "you", qty=1)
    store, model, scope = notes.store, notes.model, notes.of("me")

    assert await store.update_where(model, EVERYTHING, {"text": "changed"}, scope) == ["mine"]
    assert await store.delete_where(model, notes.where({"text": "changed"}), scope) == ["mine"]
    assert await store.delete_where(model, EVERYTHING, scope) == []
    assert await notes.keys() == ["hidden", "theirs"]


async def test_new_records_get_the_values_of_the_scope(notes: Notes) -> None:
    store, model, scope = notes.store, notes.model, notes.of("me")
    row = model.complete({"id": "a", "owner": "you", "text": "t"})

    created = await store.create(model, row, scope)
    await store.create_many(model, [{**row, "id": "b"}], scope)
    outcomes = await store.upsert_many(
        model, [{"id": "c", "owner": "you", "text": "t"}], ("id",), scope
    )

    assert created["owner"] == "me"
    assert outcomes[0].created
    assert {key: (await store.read(model, key))["owner"] for key in "abc"} == dict.fromkeys(
        "abc", "me"
    )


async def test_an_upsert_never_touches_a_record_outside_of_the_scope(notes: Notes) -> None:
    await notes.add("theirs", "you")
    row = {"id": "theirs", "owner": "me", "text": "taken over"}

    with pytest.raises(ConflictError):
        await notes.store.upsert_many(notes.model, [row], ("id",), notes.of("me"))

    assert (await notes.store.read(notes.model, "theirs"))["text"] == "t"


async def test_a_page_says_whether_more_follow(notes: Notes) -> None:
    for number in range(5):
        await notes.add(f"{number}", "me", qty=-number, size=number or None)

    for sort, limit, offset in product(
        (["id"], ["qty"], ["-size"]), (1, 3, 4, 5, 6), (0, 1, 4, 5, 9)
    ):
        query = Query(EVERYTHING, parse_sort(notes.model, sort), limit, offset)
        page = await notes.store.find(notes.model, query)
        assert len(page.rows) == max(0, min(limit, 5 - offset))
        assert page.more is (offset + limit < 5)


async def test_a_page_of_large_records_ends_early_and_can_be_continued(notes: Notes) -> None:
    large = "x" * (MAX_PAGE_BYTES // 3)
    for number in range(5):
        await notes.add(f"{number}", "me", text=large, size=number)

    for order in (["id"], ["-qty", "id"], ["size"]):
        sort = parse_sort(notes.model, order)
        shown: list[str] = []
        condition: Condition = EVERYTHING
        sizes = []
        more = True
        while more:
            page = await notes.store.find(notes.model, Query(condition, sort, limit=10))
            shown += [row["id"] for row in page.rows]
            sizes.append(len(page.rows))
            last = page.rows[-1]
            condition = following(sort, [last[each.field.name] for each in sort])
            more = page.more
        assert shown == ["0", "1", "2", "3", "4"]
        assert sizes == [2, 2, 1]

    small = Query(sort=parse_sort(notes.model, None), limit=10, fields=("id", "qty"))
    assert len((await notes.store.find(notes.model, small)).rows) == 5


async def test_a_record_too_large_for_a_page_can_be_read_without_its_large_field(
    notes: Notes,
) -> None:
    await notes.add("large", "me", text="x" * (MAX_PAGE_BYTES + 1))
    sort = parse_sort(notes.model, None)

    with pytest.raises(InvalidArgumentsError) as caught:
        await notes.store.find(notes.model, Query(sort=sort))

    assert caught.value.field == "fields"
    page = await notes.store.find(notes.model, Query(sort=sort, fields=("qty",)))
    assert [row["id"] for row in page.rows] == ["large"]


TEXTS = ["", "a", "B", "b", "A", "é", "e", "10", "9", "-a", "_", "Z"]


@pytest.mark.parametrize("by_database", [True, False], ids=["by database", "in Python"])
@pytest.mark.parametrize(
    "order", [["text"], ["-text"], ["qty", "text"], ["id"], ["-id"], ["-qty", "-id"], ["flag"]]
)
async def test_pages_show_each_record_once_whoever_orders_the_texts(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, order: list[str], by_database: bool
) -> None:
    rows = [
        notes.model.complete(
            {
                "id": f"{text}{number}",
                "owner": "me",
                "text": text,
                "qty": number % 2,
                "flag": number == 2,
            }
        )
        for text in TEXTS
        for number in range(3)
    ]
    await notes.store.create_many(notes.model, rows)
    monkeypatch.setattr(notes.session, "_orders_texts", by_database)
    sort = parse_sort(notes.model, order)

    shown: list[Row] = []
    condition: Condition = EVERYTHING
    more = True
    while more:
        page = await notes.store.find(notes.model, Query(condition, sort, limit=7))
        shown += page.rows
        condition = following(sort, [page.rows[-1][each.field.name] for each in sort])
        more = page.more

    assert [row["id"] for row in shown] == [row["id"] for row in sort_rows(rows, sort)]


async def test_a_scan_goes_on_behind_the_key_that_the_filter_names(notes: Notes) -> None:
    rows = [
        notes.model.complete({"id": f"{n:04}", "owner": "me", "text": "ab"[n % 2]})
        for n in range(700)
    ]
    await notes.store.create_many(notes.model, rows)
    condition = All((notes.where({"id": {"$gt": "0099"}, "text": {"$ilike": "A"}}),))

    page = await notes.store.find(
        notes.model, Query(condition, parse_sort(notes.model, None), limit=1000)
    )
    backwards = await notes.store.find(
        notes.model, Query(condition, parse_sort(notes.model, ["-id"]), limit=2, offset=298)
    )

    assert [row["id"] for row in page.rows] == [f"{n:04}" for n in range(100, 700, 2)]
    assert [row["id"] for row in backwards.rows] == ["0102", "0100"]
    assert not backwards.more
    assert await notes.store.count(notes.model, condition) == 300


@pytest.mark.parametrize(
    ("collation", "provider", "expected"),
    [
        ("C", "c", True),
        ("POSIX", "c", True),
        ("C.UTF-8", "c", True),
        ("C", "b", True),
        ("en_US.UTF-8", "c", False),
        ("en_US.UTF-8", "i", False),
        ("C", "i", False),
    ],
)
async def test_the_order_of_texts_is_that_of_the_database_or_not(
    collation: str, provider: str, expected: bool
) -> None:
    assert orders_code_points(collation, provider) is expected


async def test_the_database_is_asked_how_it_orders_texts(notes: Notes) -> None:
    async with notes.session.transaction() as transaction:
        assert transaction.orders_texts is True


@dataclass(frozen=True)
class Cuttable:
    """A store behind a proxy, and the database beside it."""

    notes: Notes
    proxy: CuttingProxy
    url: str

    def stored(self) -> list[str]:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(f'SELECT id FROM "{self.notes.model.table}" ORDER BY id')
            return [key for (key,) in cursor.fetchall()]


@pytest_asyncio.fixture(loop_scope="session")
async def cuttable(postgres_url: str) -> AsyncIterator[Cuttable]:
    address = urlsplit(postgres_url)
    assert address.port is not None
    with cutting_proxy(address.port) as proxy:
        url = postgres_url.replace(f":{address.port}/", f":{proxy.port}/")
        async with notes_on(url) as notes:
            await notes.add("first", "me")
            yield Cuttable(notes, proxy, postgres_url)


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_connection_lost_during_a_commit_leaves_the_outcome_unknown(
    cuttable: Cuttable, delivers: bool
) -> None:
    cuttable.proxy.cut(b"COMMIT", delivers=delivers)

    with pytest.raises(UnavailableError) as caught:
        await cuttable.notes.add("second", "me")

    assert caught.value.details == {"outcome": "unknown"}
    assert "Nothing was changed" not in caught.value.message
    assert cuttable.stored() == (["first", "second"] if delivers else ["first"])
    await cuttable.notes.add("third", "me")


async def test_a_connection_lost_before_a_commit_has_changed_nothing(cuttable: Cuttable) -> None:
    notes = cuttable.notes
    cuttable.proxy.cut(b'UPDATE "node_notes"', delivers=True)

    with pytest.raises(UnavailableError) as caught:
        await notes.store.update(notes.model, "first", {"qty": 5}, {})

    assert caught.value.details is None
    assert "Nothing was changed" in caught.value.message
    assert (await notes.store.read(notes.model, "first"))["qty"] == 0


async def test_a_connection_lost_while_the_caller_was_busy_has_changed_nothing(
    cuttable: Cuttable,
) -> None:
    notes = cuttable.notes

    async def work() -> None:
        async with notes.store.transaction() as records:
            await records.update(notes.model, "first", {"qty": 5}, {})
            with (
                closing(psycopg2.connect(cuttable.url)) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE state = 'idle in transaction' AND datname = current_database()"
                )
            with pytest.raises(UnavailableError):
                await records.read(notes.model, "first")

    with pytest.raises(UnavailableError) as caught:
        await work()

    assert caught.value.details is None
    assert (await notes.store.read(notes.model, "first"))["qty"] == 0


async def test_a_connection_lost_during_the_commit_of_a_read_is_no_unknown_outcome(
    cuttable: Cuttable,
) -> None:
    cuttable.proxy.cut(b"COMMIT", delivers=False)

    with pytest.raises(UnavailableError) as caught:
        await cuttable.notes.store.read(cuttable.notes.model, "first", OPEN)

    assert caught.value.details is None
