"""The rows of one model in one open transaction, by DataFlow's generated nodes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.node_errors import DataFlowFailureError
from kailash_mcp_prod.records.node_transaction import NodeTransaction
from kailash_mcp_prod.records.types import FieldType


class NodeTable:
    """One model's rows; they go in and come out in Python form, hidden fields among them.

    Args:
        transaction: The open transaction.
        model: The model.
        tenant: Whose rows; must be given when the model has tenants. DataFlow's nodes then see
            and change no others.
    """

    def __init__(self, transaction: NodeTransaction, model: Model, tenant: str | None) -> None:
        self.model = model
        self.dialect = transaction.dialect
        self.orders_texts = transaction.orders_texts
        self._transaction = transaction
        self._tenant = tenant
        self._types = _all_types(model)

    async def insert(self, row: Row) -> Any:
        """Inserts a row and returns its key."""
        columns = self._to_columns(row)
        if self.model.tenant is not None:
            # The node sets it itself, and fails when it is given.
            columns.pop(self.model.tenant.name, None)
        created = await self._write("Create", **columns)
        if not self.model.generates_key:
            return row["id"]
        if self.dialect == "postgresql":
            return created["id"]
        return await self._transaction.last_key(self.model)

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What fails in its block with a `ConflictError` is undone, and others can follow it."""
        return self._transaction.savepoint(self.model)

    async def lock(self, key: Any) -> None:
        """Keeps other writers from the row until the end; on SQLite the file is locked already."""
        if self.dialect == "postgresql":
            statement = f'SELECT 1 FROM "{self.model.table}" WHERE "id" = $1'  # noqa: S608 - the identifiers are checked at introspection
            values = [self._key(key)]
            if self.model.tenant is not None:
                statement += f' AND "{self.model.tenant.name}" = $2'
                values.append(self._tenant)
            await self._transaction.execute(self.model, f"{statement} FOR UPDATE", *values)

    def reading(self) -> AbstractContextManager[None]:
        """What is found to be unreadable in its block is reported as all such values are."""
        return self._transaction.guarded(self.model)

    async def fetch(self, key: Any) -> Row | None:
        """The row with that key, if there is one."""
        found = await self._run("Read", id=self._key(key), raise_on_not_found=False)
        return self._read(found) if found.get("found") else None

    async def change(self, key: Any, changes: Row) -> None:
        """Changes the row with that key, which is known to exist."""
        await self._write("Update", filter={"id": self._key(key)}, fields=self._to_columns(changes))

    async def remove(self, key: Any) -> None:
        """Deletes the row with that key, which is known to exist."""
        await self._write("Delete", id=self._key(key))

    async def select(
        self, where: Mapping[str, Any], order: list[str], limit: int, offset: int = 0
    ) -> list[Row]:
        """The rows that match a filter in DataFlow's form."""
        page = await self._run(
            "List",
            filter=dict(where),
            order_by=order,
            limit=limit,
            offset=offset,
            enable_cache=False,
        )
        return [self._read(each) for each in page["records"]]

    async def count(self, where: Mapping[str, Any]) -> int:
        """How many rows match a filter in DataFlow's form."""
        return int((await self._run("Count", filter=dict(where)))["count"])

    async def _run(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        return await self._transaction.run(self.model, operation, self._tenant, **parameters)

    async def _write(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        self._transaction.has_written = True
        return await self._run(operation, **parameters)

    def _key(self, key: Any) -> Any:
        return self.model.key.type.to_column(key)

    def _to_columns(self, row: Row) -> dict[str, Any]:
        return {name: self._types[name].to_column(value) for name, value in row.items()}

    def _read(self, stored: Mapping[str, Any]) -> Row:
        with self._transaction.guarded(self.model):
            return read_row(self.model, stored, narrow_floats=self.dialect == "postgresql")


def read_row(model: Model, stored: Mapping[str, Any], *, narrow_floats: bool) -> Row:
    """A row of DataFlow's in Python form; columns that the model does not know are dropped.

    Raises:
        DataFlowFailureError: A column holds what its type can't mean.
    """
    row: Row = {}
    for name, field_type in _all_types(model).items():
        try:
            row[name] = field_type.from_column(stored.get(name), narrow_floats=narrow_floats)
        except (ValueError, TypeError) as problem:
            raise DataFlowFailureError(
                f"{model.name}.{name} of a stored row is no {field_type.kind}"
            ) from problem
    return row


def _all_types(model: Model) -> dict[str, FieldType]:
    hidden = {} if model.tenant is None else {model.tenant.name: model.tenant.type}
    return {**model.types, **hidden}
