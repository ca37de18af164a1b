"""An index that a model declares is there, whatever DataFlow did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kailash_mcp_prod.errors import ConflictError, DatabaseStartupError
from kailash_mcp_prod.records.columns import Table, reflect_tables
from kailash_mcp_prod.records.indexes import ensure_indexes
from kailash_mcp_prod.records.model import Model
from tests.integration.records.trap_app import TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def table_of(app: TrapApp, model: Model) -> Table:
    return (await reflect_tables(app.url, [model.table]))[model.table]


async def ensure(app: TrapApp, model: str) -> int:
    described = app.models[model]
    return await ensure_indexes(app.url, [described], {model: await table_of(app, described)})


@contextmanager
def without_index(app: TrapApp, index: str) -> Iterator[None]:
    """The application while an index is missing, with empty tables in the end."""
    app.tables.execute(f"DROP INDEX {index}")
    try:
        yield
    finally:
        app.tables.clear()


async def test_every_declared_index_is_there(app: TrapApp) -> None:
    for model in app.models.values():
        table = await table_of(app, model)

        assert all(table.has_unique(columns) for columns in model.unique_indexes.values())
        assert all(
            table.has_index(columns)
            for name, columns in model.indexes.items()
            if name not in model.unique_indexes
        )


async def test_an_index_that_is_there_is_not_made_again(app: TrapApp) -> None:
    assert await ensure(app, "TrapSeat") == 0


async def test_a_missing_index_is_made(app: TrapApp) -> None:
    row = {"order": 1, "group": "g"}
    with without_index(app, "uq_trap_reserved"):
        await app.call("TrapReserved", "create", data=row)

        assert await ensure(app, "TrapReserved") == 1

        table = await table_of(app, app.models["TrapReserved"])
        assert table.has_unique(["order", "group"])
        assert isinstance(await app.refusal("TrapReserved", "create", data=row), ConflictError)


async def test_an_index_that_is_partial_keeps_no_key(app: TrapApp) -> None:
    with without_index(app, "uq_trap_counters_label"):
        app.tables.execute("CREATE UNIQUE INDEX half ON trap_counters (label) WHERE value > 5")
        assert await ensure(app, "TrapCounter") == 1
        app.tables.execute("DROP INDEX half")


async def test_records_that_share_a_unique_key_keep_the_server_from_starting(
    app: TrapApp,
) -> None:
    with without_index(app, "uq_trap_counters_label"):
        await app.call("TrapCounter", "bulk_create", data=[{"label": "twice"}] * 2)

        with pytest.raises(
            DatabaseStartupError,
            match=r"TrapCounter.*uq_trap_counters_label.*Look for records that have the same label",
        ):
            await ensure(app, "TrapCounter")

    assert await ensure(app, "TrapCounter") == 1


async def test_a_name_that_is_taken_keeps_the_server_from_starting(app: TrapApp) -> None:
    with without_index(app, "uq_trap_counters_label"):
        app.tables.execute("CREATE INDEX uq_trap_counters_label ON trap_counters (value)")

        with pytest.raises(DatabaseStartupError, match=r"uq_trap_counters_label.*(name|already)"):
            await ensure(app, "TrapCounter")

        app.tables.execute("DROP INDEX uq_trap_counters_label")
    assert await ensure(app, "TrapCounter") == 1
