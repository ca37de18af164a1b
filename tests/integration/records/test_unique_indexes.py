"""A unique key that a model declares is kept by the database, whatever DataFlow did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kailash_mcp_prod.errors import ConflictError, DatabaseStartupError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.unique_indexes import ensure_unique_indexes
from tests.integration.records.trap_app import TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def unique_keys(app: TrapApp, model: Model) -> set[frozenset[str]]:
    async with app.session.transaction(model) as transaction:
        return await transaction.unique_keys(model)


async def test_every_declared_unique_key_has_an_index(app: TrapApp) -> None:
    for model in app.models.values():
        present = await unique_keys(app, model)

        assert {frozenset(columns) for columns in model.unique_indexes.values()} <= present


async def test_an_index_that_is_there_is_not_made_again(app: TrapApp) -> None:
    model = app.models["TrapSeat"]
    before = await unique_keys(app, model)

    await ensure_unique_indexes(app.session, [model])

    assert await unique_keys(app, model) == before


@asynccontextmanager
async def without_index(app: TrapApp, model: str, index: str) -> AsyncIterator[None]:
    """The application while an index is missing, which is made again in the end."""
    app.tables.execute(f"DROP INDEX {index}")
    try:
        yield
    finally:
        app.tables.clear()
        await ensure_unique_indexes(app.session, [app.models[model]])


async def test_a_missing_index_is_made_at_the_start(app: TrapApp) -> None:
    model = app.models["TrapReserved"]
    row = {"order": 1, "group": "g"}
    async with without_index(app, "TrapReserved", "uq_trap_reserved"):
        await app.call("TrapReserved", "create", data=row)

        await ensure_unique_indexes(app.session, [model])

        assert frozenset({"order", "group"}) in await unique_keys(app, model)
        assert isinstance(await app.refusal("TrapReserved", "create", data=row), ConflictError)


async def test_an_index_that_is_partial_keeps_no_key(app: TrapApp) -> None:
    async with without_index(app, "TrapCounter", "uq_trap_counters_label"):
        app.tables.execute("CREATE UNIQUE INDEX half ON trap_counters (label) WHERE value > 5")
        present = await unique_keys(app, app.models["TrapCounter"])
        app.tables.execute("DROP INDEX half")

    assert frozenset({"label"}) not in present


async def test_records_that_share_a_unique_key_keep_the_server_from_starting(app: TrapApp) -> None:
    async with without_index(app, "TrapCounter", "uq_trap_counters_label"):
        await app.call("TrapCounter", "bulk_create", data=[{"label": "twice"}] * 2)

        with pytest.raises(DatabaseStartupError, match=r"TrapCounter.*uq_trap_counters_label"):
            await ensure_unique_indexes(app.session, [app.models["TrapCounter"]])
