"""What every store of records can do; values are in Python form throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.query import Condition, Query


@dataclass(frozen=True, slots=True)
class Upserted:
    """What happened to one row of an upsert."""

    id: Any
    created: bool


class RecordStore(Protocol):
    """Reads and writes the records of a DataFlow application.

    Every write is all or nothing, and its effect is stored when the call returns. Operations
    raise `NotFoundError`, `ConflictError` or `UnavailableError`; anything else is a defect.
    """

    async def create(self, model: Model, row: Row) -> Row:
        """Inserts a complete row and returns what is stored."""

    async def read(self, model: Model, key: Any) -> Row:
        """The record with that key."""

    async def update(self, model: Model, key: Any, changes: Row, expected: Row) -> Row:
        """Changes a record, if it still holds the expected values, and returns what is stored."""

    async def delete(self, model: Model, key: Any) -> None:
        """Deletes a record."""

    async def find(self, model: Model, query: Query) -> list[Row]:
        """One page of the records that match."""

    async def count(self, model: Model, condition: Condition) -> int:
        """How many records match."""

    async def create_many(self, model: Model, rows: Sequence[Row]) -> list[Any]:
        """Inserts complete rows and returns their keys in order."""

    async def update_many(self, model: Model, changes: Sequence[tuple[Any, Row]]) -> list[Any]:
        """Changes records by key and returns the keys in order."""

    async def update_where(self, model: Model, condition: Condition, changes: Row) -> list[Any]:
        """Changes all records that match, at most 1,000, and returns their keys."""

    async def delete_many(self, model: Model, keys: Sequence[Any]) -> list[Any]:
        """Deletes records by key and returns the keys in order."""

    async def delete_where(self, model: Model, condition: Condition) -> list[Any]:
        """Deletes all records that match, at most 1,000, and returns their keys."""

    async def upsert_many(
        self, model: Model, rows: Sequence[Row], conflict_on: tuple[str, ...]
    ) -> list[Upserted]:
        """Changes the records that have the same unique key, creates the others."""

    async def ping(self) -> None:
        """Asks the database for an answer; raises `UnavailableError` when there is none."""

    async def close(self) -> None:
        """Closes all connections."""
