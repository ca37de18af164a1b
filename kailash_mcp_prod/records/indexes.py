"""Makes the indexes that DataFlow left out, so that each unique key is kept."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records.columns import Table
from kailash_mcp_prod.records.connecting import (
    LOCK_SECONDS,
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)
from kailash_mcp_prod.records.model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MissingIndex:
    """A declared index that a table lacks."""

    model: str
    table: str
    name: str
    columns: tuple[str, ...]
    unique: bool

    @property
    def statement(self) -> str:
        """The statement that makes it; the names in it are checked at introspection."""
        listed = ", ".join(f'"{column}"' for column in self.columns)
        kind = "UNIQUE INDEX" if self.unique else "INDEX"
        return f'CREATE {kind} "{self.name}" ON "{self.table}" ({listed})'


def missing_indexes(model: Model, table: Table) -> Iterator[MissingIndex]:
    """The declared indexes that the table lacks, whatever the names of those that it has."""
    for name, columns in model.indexes.items():
        unique = name in model.unique_indexes
        if not (table.has_unique(columns) if unique else table.has_index(columns)):
            yield MissingIndex(model.name, model.table, name, columns, unique)


async def ensure_indexes(url: str, models: Sequence[Model], tables: Mapping[str, Table]) -> int:
    """Makes the declared indexes that the tables lack.

    DataFlow does not quote the columns of an index, so one on `order` or `createdBy` fails; it
    adds none for a column that is new in a table that exists. It logs either and goes on.

    Args:
        url: The address of the database.
        models: Whose indexes.
        tables: What the database has, by the models' names.

    Returns:
        How many were made. A missing one that is not unique and can't be made is logged.

    Raises:
        DatabaseStartupError: A unique index is missing and can't be made; the message names it.
    """
    missing = [index for model in models for index in missing_indexes(model, tables[model.name])]
    if not missing:
        return 0
    if is_postgresql(url):
        reasons = await _make_on_postgresql(url, missing)
    else:
        reasons = await asyncio.to_thread(_make_on_sqlite, sqlite_path(url), missing)
    for index, reason in zip(missing, reasons, strict=True):
        if reason is None:
            continue
        text = (
            f"Model {index.model}: the {'unique ' * index.unique}index '{index.name}' is missing "
            f"and can't be made. {reason}"
        )
        if index.unique:
            raise DatabaseStartupError(text)
        logger.warning("%s", text)
    return sum(reason is None for reason in reasons)


def _duplicates(index: MissingIndex) -> str:
    return f"Look for records that have the same {' and '.join(index.columns)}."


async def _make_on_postgresql(url: str, missing: Sequence[MissingIndex]) -> list[str | None]:
    import asyncpg

    reasons: list[str | None] = []
    async with connected_to_postgresql(url) as connection:
        for index in missing:
            reason = None
            try:
                await connection.execute(index.statement)
            except asyncpg.UniqueViolationError:
                reason = _duplicates(index)
            except asyncpg.DuplicateTableError:
                reason = "Something else has that name."
            except asyncpg.PostgresError as failure:
                reason = f"PostgreSQL refuses it ({type(failure).__name__})."
            reasons.append(reason)
    return reasons


def _make_on_sqlite(path: Path, missing: Sequence[MissingIndex]) -> list[str | None]:
    reasons: list[str | None] = []
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        for index in missing:
            reason = None
            try:
                database.execute(index.statement)
            except sqlite3.IntegrityError:
                reason = _duplicates(index)
            except sqlite3.Error as failure:
                reason = f"SQLite refuses it: {failure}."
            reasons.append(reason)
    return reasons
