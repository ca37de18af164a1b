"""What every store of records can do; values are in Python form throughout."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from kailash_mcp_prod.records.aggregates import Aggregation, Groups
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.pacing import Steps
from kailash_mcp_prod.records.query import Condition, Query
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.shapes import RecordShape

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page ends before its limit when its rows hold more than this, in bytes or characters."""


@dataclass(frozen=True, slots=True)
class Upserted:
    """What happened to one row of an upsert."""

    id: Any
    created: bool


class Found(Protocol):
    """A page of records that a store has found; see `Page`."""

    @property
    def rows(self) -> Sequence[Row]:
        """The rows in Python form, in order."""

    @property
    def more(self) -> bool:
        """Whether more rows follow."""

    def __len__(self) -> int:
        """How many rows there are."""

    def last(self) -> Row:
        """The last row in Python form, with the fields of the sort order at least."""

    def records(self, shape: RecordShape) -> Steps[list[dict[str, Any]]]:
        """The rows as JSON objects of results, with the fields that the query asked for.

        Args:
            shape: Makes these objects of rows in Python form, where there is no shorter way.
        """


class Records(Protocol):
    """The operations on records, within the scope of a caller.

    Every write is all or nothing. Operations raise `NotFoundError`, `ConflictError`,
    `InvalidArgumentsError` or `UnavailableError`; anything else is a defect.
    """

    async def create(self, model: Model, row: Row, scope: Scope = OPEN) -> Row:
        """Inserts a complete row and returns what is stored."""

    async def read(
        self, model: Model, key: Any, scope: Scope = OPEN, fields: tuple[str, ...] | None = None
    ) -> Row:
        """The record with that key, with these fields at least; `None` stands for all."""

    async def update(
        self, model: Model, key: Any, changes: Row, expected: Row, scope: Scope = OPEN
    ) -> Row:
        """Changes a record, if it still holds the expected values, and returns what is stored."""

    async def delete(self, model: Model, key: Any, scope: Scope = OPEN) -> None:
        """Deletes a record."""

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> Found:
        """One page of the records that match, of at most `MAX_PAGE_BYTES` unless it is one row."""

    async def count(self, model: Model, condition: Condition, scope: Scope = OPEN) -> int:
        """How many records match."""

    async def aggregate(
        self, model: Model, aggregation: Aggregation, scope: Scope = OPEN
    ) -> Groups:
        """Groups of the records that match, of at most `MAX_PAGE_BYTES` unless it is one group."""

    async def create_many(
        self, model: Model, rows: Sequence[Row], scope: Scope = OPEN
    ) -> list[Any]:
        """Inserts complete rows and returns their keys in order."""

    async def update_many(
        self, model: Model, changes: Sequence[tuple[Any, Row]], scope: Scope = OPEN
    ) -> list[Any]:
        """Changes records by key, each named once, and returns the keys in order."""

    async def update_where(
        self, model: Model, condition: Condition, changes: Row, scope: Scope = OPEN
    ) -> list[Any]:
        """Changes all records that match, at most 1,000, and returns their keys."""

    async def delete_many(
        self, model: Model, keys: Sequence[Any], scope: Scope = OPEN
    ) -> list[Any]:
        """Deletes records by key, each named once, and returns the keys in order."""

    async def delete_where(
        self, model: Model, condition: Condition, scope: Scope = OPEN
    ) -> list[Any]:
        """Deletes all records that match, at most 1,000, and returns their keys."""

    async def upsert(
        self, model: Model, row: Row, conflict_on: tuple[str, ...], scope: Scope = OPEN
    ) -> tuple[Row, bool]:
        """Like `upsert_many` for one row; what is stored then, and whether it was created."""

    async def upsert_many(
        self,
        model: Model,
        rows: Sequence[Row],
        conflict_on: tuple[str, ...],
        scope: Scope = OPEN,
    ) -> list[Upserted]:
        """Changes the records that have the same unique key, creates the others.

        Rows hold what was given, no defaults; each record is named once.
        """


class Transaction(Records, Protocol):
    """An open transaction, which may also keep what the server notes of it."""

    async def statement(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Runs a statement on a table of the server's own, and returns its rows.

        Args:
            text: SQL in the words of the database; a constant.
            values: Its parameters.
        """

    async def statements(
        self, several: Sequence[tuple[str, Sequence[Any]]]
    ) -> Sequence[Sequence[Sequence[Any]]]:
        """The same for several, one after another, at the cost of one where that can be."""


class RecordStore(Records, Protocol):
    """Reads and writes the records of a DataFlow application.

    The effect of an operation is stored when its call returns.
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Several operations on one connection, all or nothing.

        They are stored when the block ends, and undone when it raises. After an operation has
        failed, only the end of the block may follow.

        Example:
            ```python
            async with store.transaction() as records:
                company = await records.create(companies, {"id": "c1", "name": "Acme"})
                await records.create(contacts, {"id": "p1", "company_id": company["id"]})
            ```
        """

    async def ping(self) -> None:
        """Asks the database for an answer; raises `UnavailableError` when there is none."""

    async def close(self) -> None:
        """Closes all connections."""
