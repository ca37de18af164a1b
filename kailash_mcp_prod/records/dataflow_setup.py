"""Settings of a DataFlow instance that its public interface does not offer after it is made.

The private names used here are those of kailash-dataflow 2.20.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from kailash_mcp_prod.records.columns import Table
from kailash_mcp_prod.records.introspect import DECLARED_TYPE
from kailash_mcp_prod.records.model import Model


def migrates(db: Any) -> bool:
    """Whether the instance was made to make and change tables."""
    return bool(db._auto_migrate) and not db._existing_schema_mode  # noqa: SLF001


def leave_schema_alone(db: Any) -> None:
    """Makes the instance and its nodes take the tables as they are.

    Neither tables nor indexes are made any more, nor those in which DataFlow keeps its own books.
    """
    db._auto_migrate = False  # noqa: SLF001
    db._existing_schema_mode = True  # noqa: SLF001
    db._enable_model_persistence = False  # noqa: SLF001


async def make_tables(db: Any, models: Sequence[str]) -> None:
    """Makes the tables of these models and adds the columns that they lack.

    `ensure_table_exists()` does so as well, but on SQLite it fails beside other tables. What can't
    be made is logged.
    """
    await asyncio.to_thread(db._create_tables_batch, list(models))  # noqa: SLF001


@asynccontextmanager
async def without_audit_store(db: Any) -> AsyncIterator[None]:
    """Keeps `initialize()` from making the table of the audit trail."""
    audit = db._audit_integration  # noqa: SLF001
    db._audit_integration = None  # noqa: SLF001
    try:
        yield
    finally:
        db._audit_integration = audit  # noqa: SLF001


@contextmanager
def one_look_at_the_schema(db: Any) -> Iterator[None]:
    """Lets `initialize()` look at the schema of the database once, not again for each model.

    It looks for foreign keys, and the catalogue of PostgreSQL takes a while to answer. No model's
    foreign keys change in between.
    """
    discover = db.discover_schema_async
    looks: dict[bool, dict[str, Any]] = {}

    async def look(use_real_inspection: bool = False) -> dict[str, Any]:
        if use_real_inspection not in looks:
            looks[use_real_inspection] = await discover(use_real_inspection)
        return looks[use_real_inspection]

    db.discover_schema_async = look
    try:
        yield
    finally:
        del db.discover_schema_async


def remember_columns(db: Any, table: Table) -> None:
    """Tells the nodes the columns of a table, which they would look up in the whole catalogue."""
    address = hashlib.sha256(str(db.config.database.url).encode()).hexdigest()[:16]
    db._column_cache[f"{address}:{table.name}"] = list(table.columns)  # noqa: SLF001


def keep_declared_types(db: Any, model: Model) -> None:
    """Keeps what the model declares, before the nodes are told what its columns hold.

    So it is described the same when the instance is prepared again.
    """
    for field in db._model_fields[model.name].values():  # noqa: SLF001
        field.setdefault(DECLARED_TYPE, field["type"])


def add_tenant_column(db: Any, model: Model) -> None:
    """Gives a multi-tenant model the column that DataFlow documents for it.

    DataFlow adds it when the whole instance is multi-tenant, but not for a model with the option.
    """
    if model.tenant is not None:
        fields = db._model_fields[model.name]  # noqa: SLF001
        fields.setdefault(model.tenant.name, {"type": str, "required": False})
