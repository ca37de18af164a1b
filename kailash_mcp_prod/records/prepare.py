"""Brings the tables of a DataFlow instance up to its models, or checks that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.columns import Table, reflect_tables
from kailash_mcp_prod.records.connecting import require_lasting, wait_for_database
from kailash_mcp_prod.records.dataflow_session import (
    DataFlowSession,
    adopt_column_types,
    close_connection_test,
    stop_logging_of_values,
)
from kailash_mcp_prod.records.dataflow_setup import (
    add_tenant_column,
    keep_declared_types,
    leave_schema_alone,
    make_tables,
    migrates,
    one_look_at_the_schema,
    remember_columns,
    without_audit_store,
)
from kailash_mcp_prod.records.indexes import ensure_indexes, missing_indexes
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.migration_lock import migration_lock
from kailash_mcp_prod.records.model import Model

_NAMED_GAPS = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """The models of a DataFlow instance, and their tables by the models' names."""

    models: tuple[Model, ...]
    tables: Mapping[str, Table]


async def prepare_database(
    db: Any, *, auto_migrate: bool = True, wait_seconds: float = 0
) -> Prepared:
    """Describes the models, makes their tables, and readies the nodes for the record store.

    Args:
        db: The DataFlow instance. One that was made with `auto_migrate=False` or
            `existing_schema_mode=True` is never migrated.
        auto_migrate: Make the tables, columns and indexes that are missing; otherwise nothing in
            the database is made or changed, and what is missing is an error.
        wait_seconds: How long to wait for a database that doesn't take connections yet.

    Raises:
        ModelError: A model can't be served.
        DatabaseStartupError: The database doesn't answer, or its tables can't be made; or
            something is missing that may not be made. What DataFlow had opened is closed then.
    """
    models = describe_models(db)
    url = str(db.config.database.url)
    require_lasting(url)
    await wait_for_database(url, wait_seconds)
    close_connection_test(db)
    for model in models:
        add_tenant_column(db, model)
    try:
        if auto_migrate and migrates(db):
            async with migration_lock(url):
                await _initialize(db)
                tables = await _migrate(db, models)
        else:
            tables = await _checked(url, models)
            leave_schema_alone(db)
            async with without_audit_store(db):
                await _initialize(db)
    except BaseException:
        await DataFlowSession(db).close()
        raise
    _ready_nodes(db, models, tables)
    stop_logging_of_values()
    return Prepared(models, tables)


async def prepare_models(
    db: Any, models: Sequence[Model], *, auto_migrate: bool = True
) -> Mapping[str, Table]:
    """Makes or checks the tables of models that were registered while the server runs.

    Returns:
        The tables by the models' names.

    Raises:
        DatabaseStartupError: A table can't be made; or something is missing that may not be made.
    """
    url = str(db.config.database.url)
    for model in models:
        add_tenant_column(db, model)
    if auto_migrate and migrates(db):
        async with migration_lock(url):
            tables = await _migrate(db, models)
    else:
        tables = await _checked(url, models)
    _ready_nodes(db, models, tables)
    return tables


async def _initialize(db: Any) -> None:
    try:
        with one_look_at_the_schema(db):
            ready = await db.initialize()
    except Exception as failure:
        # DataFlow raises whatever its drivers do; the cause is for the log, not for a caller.
        raise DatabaseStartupError(
            f"The database can't be opened ({type(failure).__name__}). Check DATABASE_URL and "
            "that the database is up."
        ) from failure
    if not ready:
        raise DatabaseStartupError(
            "DataFlow could not prepare its tables. Its log lines above say why."
        )


async def _migrate(db: Any, models: Sequence[Model]) -> dict[str, Table]:
    """Makes what `initialize()` left out: it comes too late for models it has already seen."""
    url = str(db.config.database.url)
    tables = await _tables_of(url, models)
    incomplete = [model.name for model in models if any(_table_gaps(model, tables.get(model.name)))]
    if incomplete:
        await make_tables(db, incomplete)
        tables = await _tables_of(url, models)
    gaps = [gap for model in models for gap in _table_gaps(model, tables.get(model.name))]
    if gaps:
        raise DatabaseStartupError(
            f"The database lacks what DataFlow could not make: {_listed(gaps)}. Its log lines "
            "above say why."
        )
    if await ensure_indexes(url, models, tables):
        tables = await _tables_of(url, models)
    return tables


async def _checked(url: str, models: Sequence[Model]) -> dict[str, Table]:
    tables = await _tables_of(url, models)
    gaps = [gap for model in models for gap in _gaps(model, tables.get(model.name))]
    if gaps:
        raise DatabaseStartupError(
            f"The database lacks: {_listed(gaps)}. Run once with auto_migrate, or create them."
        )
    return tables


async def _tables_of(url: str, models: Sequence[Model]) -> dict[str, Table]:
    found = await reflect_tables(url, [model.table for model in models])
    return {model.name: found[model.table] for model in models if model.table in found}


def _table_gaps(model: Model, table: Table | None) -> Iterator[str]:
    if table is None:
        yield f"table {model.table} ({model.name})"
        return
    names = [field.name for field in model.fields]
    if model.tenant is not None:
        names.append(model.tenant.name)
    if model.soft_delete:
        names.append("deleted_at")
    for name in names:
        if name not in table.columns:
            yield f"column {model.name}.{name}"


def _gaps(model: Model, table: Table | None) -> Iterator[str]:
    """What the model needs and the database lacks; plain indexes only make it slower."""
    yield from _table_gaps(model, table)
    if table is not None:
        for index in missing_indexes(model, table):
            if index.unique:
                listed = ", ".join(f"{model.name}.{column}" for column in index.columns)
                yield f"unique index {index.name} ({listed})"


def _listed(gaps: Sequence[str]) -> str:
    further = len(gaps) - _NAMED_GAPS
    more = f" and {further} more" if further > 0 else ""
    return ", ".join(gaps[:_NAMED_GAPS]) + more


def _ready_nodes(db: Any, models: Sequence[Model], tables: Mapping[str, Table]) -> None:
    for model in models:
        keep_declared_types(db, model)
        adopt_column_types(db, model)
        remember_columns(db, tables[model.name])
