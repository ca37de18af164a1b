"""At the start the tables are made, or checked and left alone."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dataflow import DataFlow

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.introspect import describe_model
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.prepare import Prepared, prepare_database, prepare_models
from kailash_mcp_prod.records.query import EVERYTHING, Comparison, Query
from kailash_mcp_prod.records.scope import Scope
from tests.integration.records.plain_sql import run_sql, schema_of

Options = dict[str, Any]


class Stock:
    """Columns whose names DataFlow's index statements can't take."""

    id: str
    order: int
    createdBy: str  # noqa: N815 - camelCase is what DataFlow does not quote
    amount: Decimal | None = None
    tags: list[str] | None = None

    __dataflow__: ClassVar[Options] = {
        "soft_delete": True,
        "indexes": [
            {"name": "uq_stock", "fields": ["order", "createdBy"], "unique": True},
            {"name": "ix_stock", "fields": ["createdBy"]},
            {"fields": ["amount"]},
        ],
    }


class Guest:
    """Belongs to a tenant by an option of its own."""

    id: str
    email: str

    __dataflow__: ClassVar[Options] = {
        "multi_tenant": True,
        "indexes": [{"name": "uq_guest", "fields": ["tenant_id", "email"], "unique": True}],
    }


def dataflow(url: str, *models: type, **options: Any) -> DataFlow:
    db = DataFlow(url, **{"enable_caching": False, "enable_model_persistence": False} | options)
    for model in models:
        db.model(type(model.__name__, (model,), {}))
    return db


@asynccontextmanager
async def closing(db: DataFlow) -> AsyncIterator[DataFlow]:
    try:
        yield db
    finally:
        await DataFlowSession(db).close()


async def prepared(url: str, *models: type, auto_migrate: bool = True) -> Prepared:
    """What is prepared in the database by an application of these models, which then ends."""
    async with closing(dataflow(url, *models)) as db:
        return await prepare_database(db, auto_migrate=auto_migrate)


async def refusal(db: DataFlow, **how: Any) -> str:
    with pytest.raises(DatabaseStartupError) as refused:
        await prepare_database(db, **how)
    assert refused.value.exit_code == 4
    return str(refused.value)


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def use(db: DataFlow, model: Model) -> None:
    """Creates, reads, changes, lists and deletes a record by DataFlow's nodes."""
    store = NodeStore(DataFlowSession(db))
    row = {"order": 1, "createdBy": "ann", "amount": Decimal("1.50"), "tags": ["a"]}
    created = await store.create(model, {"id": "s1", **row})
    assert {name: created[name] for name in row} == row
    assert await store.read(model, "s1") == created
    changed = await store.update(model, "s1", {"amount": Decimal(2)}, {})
    assert changed["amount"] == 2
    page = await store.find(model, Query())
    assert [each["id"] for each in page.rows] == ["s1"]
    await store.delete(model, "s1")
    assert await store.count(model, EVERYTHING) == 0


async def test_tables_and_all_declared_indexes_are_made(database_url: str) -> None:
    done = await prepared(database_url, Stock)

    [model] = done.models
    table = done.tables["Stock"]
    assert set(table.columns) == {*model.types, "deleted_at"}
    assert table.has_unique(["order", "createdBy"])
    assert table.has_index(["createdBy"])
    assert table.has_index(["amount"])
    assert {"uq_stock", "ix_stock"} <= {index.name for index in table.indexes}


async def test_what_is_there_is_not_made_again(database_url: str) -> None:
    first = await prepared(database_url, Stock, Guest)
    before = schema_of(database_url)

    assert await prepared(database_url, Stock, Guest) == first
    assert schema_of(database_url) == before


async def test_dataflow_looks_at_the_schema_once_for_all_models(postgres_url: str) -> None:
    async with closing(dataflow(postgres_url, Stock, Guest)) as db:
        looked = 0
        inspect = db._inspect_database_schema_real

        async def counted() -> Options:
            nonlocal looked
            looked += 1
            return await inspect()

        db._inspect_database_schema_real = counted  # type: ignore[method-assign]
        await prepare_database(db)

        assert looked == 1
        assert db.get_relationships("Stock") == db.get_relationships("Guest") == {}
        assert await db.discover_schema_async(use_real_inspection=True)
        assert looked == 2


async def test_columns_and_indexes_of_a_newer_model_are_added(database_url: str) -> None:
    class Stock2(Stock):
        colour: str | None = None

        __tablename__ = "stocks"
        __dataflow__: ClassVar[Options] = {
            "soft_delete": True,
            "indexes": [{"name": "uq_colour", "fields": ["colour"], "unique": True}],
        }

    await prepared(database_url, Stock)
    table = (await prepared(database_url, Stock2)).tables["Stock2"]

    assert table.columns["colour"].nullable
    assert table.has_unique(["colour"])


async def test_a_column_that_can_not_be_added_stops_the_start_by_name(database_url: str) -> None:
    run_sql(database_url, "CREATE VIEW guests AS SELECT 'g' AS id, 'a@b.c' AS email")

    text = await refusal(dataflow(database_url, Guest))

    assert ": column Guest.created_at, column Guest.updated_at, column Guest.tenant_id. " in text


async def test_a_plain_index_that_can_not_be_made_is_a_warning(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(database_url, "CREATE TABLE others (a INTEGER)", "CREATE INDEX ix_stock ON others (a)")

    done = await prepared(database_url, Stock)

    assert not done.tables["Stock"].has_index(["createdBy"])
    assert "Model Stock: the index 'ix_stock' is missing and can't be made" in caplog.text


async def test_a_table_that_was_dropped_is_made_again_by_a_second_start(
    database_url: str,
) -> None:
    async with closing(dataflow(database_url, Stock, Guest)) as db:
        first = await prepare_database(db)
        run_sql(database_url, "DROP TABLE stocks")
        second = await prepare_database(db)

        assert second == first
        await use(db, second.models[0])


async def test_without_migration_an_empty_database_stays_empty(database_url: str) -> None:
    before = schema_of(database_url)

    text = await refusal(
        dataflow(database_url, Stock, Guest, enable_model_persistence=True, audit_logging=True),
        auto_migrate=False,
    )

    assert text == (
        "The database lacks: table stocks (Stock), table guests (Guest). "
        "Run once with auto_migrate, or create them."
    )
    assert schema_of(database_url) == before


async def test_without_migration_no_sqlite_file_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"

    assert "table stocks" in await refusal(dataflow(url, Stock), auto_migrate=False)

    assert files_in(tmp_path) == set()


async def test_without_migration_all_that_is_missing_is_named(database_url: str) -> None:
    run_sql(
        database_url,
        'CREATE TABLE stocks (id TEXT PRIMARY KEY, "order" INTEGER, "createdBy" TEXT, '
        "tags TEXT, created_at TEXT)",
        "CREATE TABLE guests (id TEXT PRIMARY KEY, email TEXT, created_at TEXT, updated_at TEXT)",
    )

    text = await refusal(dataflow(database_url, Stock, Guest), auto_migrate=False)

    assert text == (
        "The database lacks: column Stock.amount, column Stock.updated_at, "
        "column Stock.deleted_at, unique index uq_stock (Stock.order, Stock.createdBy), "
        "column Guest.tenant_id, unique index uq_guest (Guest.tenant_id, Guest.email). "
        "Run once with auto_migrate, or create them."
    )


async def test_what_is_missing_is_named_in_bounded_length(sqlite_url: str) -> None:
    models = [type(f"Thing{number}", (Stock,), {}) for number in range(30)]

    text = await refusal(dataflow(sqlite_url, *models), auto_migrate=False)

    assert "Thing19)" in text
    assert "Thing20" not in text
    assert " and 10 more." in text


@contextmanager
def definitions_counted(url: str) -> Iterator[list[str]]:
    """The statements that define something, while a block runs; known at its end."""
    seen: list[str] = []
    if url.startswith("sqlite"):
        [(before,)] = run_sql(url, "PRAGMA schema_version")
        yield seen
        [(after,)] = run_sql(url, "PRAGMA schema_version")
        seen.extend(["definition"] * (after - before))
        return
    run_sql(
        url,
        "CREATE TABLE seen (tag TEXT)",
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO seen VALUES (tg_tag); END $$",
        "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION note()",
    )
    yield seen
    seen.extend(tag for (tag,) in run_sql(url, "DROP EVENT TRIGGER watch", "SELECT tag FROM seen"))


async def test_without_migration_the_nodes_work_and_define_nothing(database_url: str) -> None:
    await prepared(database_url, Stock, Guest)
    run_sql(
        database_url,
        *("DROP TABLE dataflow_migrations", "DROP TABLE IF EXISTS dataflow_migration_history"),
        "DROP INDEX ix_stock",
    )

    with definitions_counted(database_url) as seen:
        before = schema_of(database_url)
        db = dataflow(database_url, Stock, Guest, enable_model_persistence=True, audit_logging=True)
        async with closing(db):
            done = await prepare_database(db, auto_migrate=False)
            await use(db, done.models[0])
        after = schema_of(database_url)

    assert seen == []
    assert after == before
    assert done.tables.keys() == {"Stock", "Guest"}
    if database_url.startswith("sqlite"):
        assert "audit_events.db" not in files_in(file_of(database_url).parent)


async def test_an_instance_that_was_made_not_to_migrate_is_not_migrated(
    database_url: str,
) -> None:
    for option in ({"auto_migrate": False}, {"existing_schema_mode": True}):
        assert "table stocks (Stock)" in await refusal(dataflow(database_url, Stock, **option))

    assert not {name for _, name in schema_of(database_url)} & {"stocks", "uq_stock"}


async def test_a_multi_tenant_model_gets_its_column_and_its_nodes_write_it(
    database_url: str,
) -> None:
    async with closing(dataflow(database_url, Guest)) as db:
        done = await prepare_database(db)
        assert done.tables["Guest"].has_unique(["tenant_id", "email"])
        store = NodeStore(DataFlowSession(db))
        [model] = done.models
        assert model.tenant is not None
        for tenant in ("acme", "umbrella"):
            scope = Scope(Comparison(model.tenant, "$eq", tenant), {"tenant_id": tenant})
            await store.create(model, {"id": tenant, "email": "a@b.c"}, scope)

    stored = run_sql(database_url, "SELECT id, tenant_id FROM guests ORDER BY id")
    assert stored == [("acme", "acme"), ("umbrella", "umbrella")]


async def test_the_tables_of_a_multi_tenant_instance_have_a_tenant(database_url: str) -> None:
    async with closing(dataflow(database_url, Stock, multi_tenant=True)) as db:
        done = await prepare_database(db)

    assert done.models[0].tenant is not None
    assert done.tables["Stock"].columns["tenant_id"].type == "text"


async def test_a_model_registered_later_gets_its_table(database_url: str) -> None:
    async with closing(dataflow(database_url, Stock)) as db:
        await prepare_database(db)
        db.model(type("Guest", (Guest,), {}))
        tables = await prepare_models(db, [describe_model(db, "Guest")])

    assert tables["Guest"].has_unique(["tenant_id", "email"])


async def test_a_model_registered_later_is_checked_without_migration(database_url: str) -> None:
    await prepared(database_url, Stock)
    async with closing(dataflow(database_url, Stock)) as db:
        await prepare_database(db, auto_migrate=False)
        db.model(type("Guest", (Guest,), {}))
        with pytest.raises(DatabaseStartupError, match=r"lacks: table guests \(Guest\)"):
            await prepare_models(db, [describe_model(db, "Guest")], auto_migrate=False)

        await prepared(database_url, Guest)
        tables = await prepare_models(db, [describe_model(db, "Guest")], auto_migrate=False)

    assert tables["Guest"].columns["tenant_id"].type == "text"


async def test_the_lock_of_a_sqlite_file_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, folder = tmp_path / "temporary", tmp_path / "data"
    temporary.mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    await prepared(f"sqlite:///{folder / 'app.db'}", Stock)

    assert {name for name in files_in(folder) if "lock" in name} == {".app.db.lock"}
    assert files_in(temporary) == set()


async def test_a_sqlite_file_without_a_folder_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'absent' / 'app.db'}"

    assert "there is no folder" in await refusal(dataflow(url, Stock), wait_seconds=60)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, kept free by a socket that is bound to it."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]


async def test_a_database_that_is_down_stops_the_start(closed_port: int) -> None:
    url = f"postgresql://app:hunter2@127.0.0.1:{closed_port}/app"

    text = await refusal(dataflow(url, Stock))

    assert text.startswith("PostgreSQL can't be reached (ConnectionRefusedError).")
    assert "hunter2" not in text


async def test_a_database_that_stays_down_is_waited_for(
    closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"postgresql://app@127.0.0.1:{closed_port}/app"

    text = await refusal(dataflow(url, Stock), wait_seconds=0.3)

    assert text.endswith("Waited for 0.3 s.")
    assert caplog.text.count("Waiting for up to 0.3 s") == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/no_such_database", "does not exist on that PostgreSQL server"),
        ("nobody@", "refuses the user or the password"),
    ],
)
async def test_a_database_that_refuses_for_good_is_not_waited_for(
    postgres_url: str, path: str, reason: str
) -> None:
    address, _, name = postgres_url.rpartition("/")
    if path.startswith("/"):
        url = address + path
    else:
        url = f"postgresql://{path}{address.partition('@')[2]}/{name}"

    async with asyncio.timeout(20):
        assert reason in await refusal(dataflow(url, Stock), wait_seconds=600)


class Noticed(logging.Handler):
    """Tells when a line is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.line = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "Waiting for up to" in record.getMessage():
            self.line.set()


@pytest.fixture
def locked_out_url(postgres_url: str) -> Iterator[str]:
    """The address for a role to which the server gives no connection, as if all were taken."""
    run_sql(
        postgres_url,
        "CREATE ROLE latecomer LOGIN CONNECTION LIMIT 0",
        "GRANT ALL ON SCHEMA public TO latecomer",
    )
    yield postgres_url.replace("postgres@", "latecomer@")
    run_sql(postgres_url, "DROP OWNED BY latecomer", "DROP ROLE latecomer")


async def test_a_database_that_takes_connections_later_is_used(
    postgres_url: str, locked_out_url: str
) -> None:
    noticed = Noticed()
    logger = logging.getLogger("kailash_mcp_prod.records.connecting")
    logger.addHandler(noticed)
    try:
        async with (
            closing(dataflow(locked_out_url, Stock)) as db,
            asyncio.timeout(30),
            asyncio.TaskGroup() as tasks,
        ):
            preparing = tasks.create_task(prepare_database(db, wait_seconds=30))
            await noticed.line.wait()
            assert not preparing.done()
            run_sql(postgres_url, "ALTER ROLE latecomer CONNECTION LIMIT -1")
            done = await preparing
    finally:
        logger.removeHandler(noticed)

    assert done.tables["Stock"].has_unique(["order", "createdBy"])
