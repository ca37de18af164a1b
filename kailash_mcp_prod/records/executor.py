"""Runs an operation: arguments in, the structured result out. The strict layer's other half."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any, Self

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.records.aggregates import group_to_json, parse_aggregation
from kailash_mcp_prod.records.arguments import DEFAULT_LIMIT, ArgumentsModel
from kailash_mcp_prod.records.cursors import CursorSigner, identity_of
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.pacing import STEP_ROWS, in_steps, mapped, paced, straight
from kailash_mcp_prod.records.paging import following
from kailash_mcp_prod.records.query import All, Comparison, Condition, Query, Sort
from kailash_mcp_prod.records.refusals import beyond_reach
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.shapes import RecordShape, shape_of
from kailash_mcp_prod.records.store import Found, Records, RecordStore
from kailash_mcp_prod.records.types import json_encoder
from kailash_mcp_prod.records.views import veil

Arguments = Mapping[str, Any]

NO_CURSOR = (
    "The last record's value of a sort field is too long for a cursor. Go on with offset, or sort "
    "by a shorter field."
)

_KEYS_AT_ONCE = 500
_ROWS_IN_ONE_GO = 4 * STEP_ROWS
_BULK_ROWS = frozenset({Operation.BULK_CREATE, Operation.BULK_UPDATE, Operation.BULK_UPSERT})


class RecordOperation:
    """One operation of one model on a store.

    Args:
        store: Where the records are.
        model: The model, or a view of it: what the view leaves out is not there for the caller.
        operation: The operation.
        cursors: Signs the cursors of a list; by default with a key that nobody else has.

    Example:
        `await RecordOperation(store, company, Operation.READ)({"id": "c1"})`
    """

    def __init__(
        self,
        store: RecordStore,
        model: Model,
        operation: Operation,
        cursors: CursorSigner | None = None,
    ) -> None:
        self._store: Records = store
        self._transaction: Callable[[], AbstractAsyncContextManager[Records]] = store.transaction
        self._view = model
        self._model = model.whole
        self._all_fields = None if model.base is None else tuple(model.types)
        self._shape = shape_of(model)
        self._encode_key = json_encoder(model.key.type)
        self._cursors = cursors or CursorSigner()
        self._arguments = ArgumentsModel(model, operation)
        self._operation = operation
        self._many_rows = operation in _BULK_ROWS
        self._run = getattr(self, f"_{operation}")

    @property
    def upserts(self) -> bool:
        """Whether it changes what it finds and creates the rest."""
        return self._operation in {Operation.UPSERT, Operation.BULK_UPSERT}

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return self._arguments.schema

    def within(self, transaction: Records) -> Self:
        """The same operation, as a part of a transaction."""
        part = copy.copy(self)
        part._store = transaction  # noqa: SLF001 - of its own kind
        part._transaction = lambda: nullcontext(transaction)  # noqa: SLF001
        part._run = getattr(part, f"_{self._operation}")  # noqa: SLF001
        return part

    async def __call__(self, raw: Arguments, scope: Scope = OPEN) -> dict[str, Any]:
        """Validates the arguments, runs the operation and shapes the result.

        Args:
            raw: The arguments as JSON values.
            scope: The caller's part of the records.

        Raises:
            ServerError: The call is wrong or can't be done; nothing has changed.
        """
        if self._many_rows:
            arguments = await self._arguments.validate_paced(raw)
        else:
            arguments = self._arguments.validate(raw)
        result: dict[str, Any] = await self._run(arguments, scope)
        return result

    async def _create(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        row = self._model.complete(arguments["data"])
        async with self._writing(scope) as records:
            stored = await records.create(self._model, row, scope)
            await self._check(records, [stored["id"]], scope)
        return self._shape.record(stored)

    async def _read(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        shape, fields = self._projection(arguments)
        with self._veiled():
            row = await self._store.read(self._model, arguments["id"], scope, fields)
        return shape.record(row)

    async def _update(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        key, changes = arguments["id"], arguments["data"]
        expected = arguments.get("expected", {})
        async with self._writing(scope) as records:
            row = await records.update(self._model, key, changes, expected, scope)
            await self._check(records, [key], scope)
        return self._shape.record(row)

    async def _delete(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        with self._veiled():
            await self._store.delete(self._model, arguments["id"], scope)
        return {"id": self._key_to_json(arguments["id"]), "deleted": True}

    async def _list(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        condition = parse_filter(self._view, arguments.get("filter"))
        sort = self._sort(arguments)
        limit = arguments.get("limit", DEFAULT_LIMIT)
        shape, fields = self._projection(arguments)
        listing = None
        selection = condition
        if "cursor" in arguments:
            listing = identity_of(self._model, condition, sort, scope)
            last = self._cursors.accept(listing, sort, arguments["cursor"])
            after = following(sort, last)
            selection = All((condition, after)) if arguments.get("filter") else after
        query = Query(selection, sort, limit, arguments.get("offset", 0), fields)
        with self._veiled():
            page = await self._store.find(self._model, query, scope)
        result: dict[str, Any] = {
            "records": await _in_steps(page, shape),
            "count": len(page),
            "limit": limit,
        }
        if page.more:
            listing = listing or identity_of(self._model, condition, sort, scope)
            last_row = page.last()
            cursor = self._cursors.issue(listing, [last_row[each.field.name] for each in sort])
            result |= {"no_next_cursor": NO_CURSOR} if cursor is None else {"next_cursor": cursor}
        if arguments.get("include_total"):
            result["total"] = await self._count_of(condition, scope)
        return result

    async def _count(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        condition = parse_filter(self._view, arguments.get("filter"))
        return {"count": await self._count_of(condition, scope)}

    async def _aggregate(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        asked = parse_aggregation(self._view, arguments)
        with self._veiled():
            found = await self._store.aggregate(self._model, asked, scope)
        groups = await paced(mapped(partial(group_to_json, asked), found.groups))
        return {"groups": groups, "count": len(groups), "more": found.more}

    async def _bulk_create(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        rows = await paced(in_steps(self._model.complete_all, arguments["data"]))
        if not self._model.generates_key:
            self._refuse_repeats([row["id"] for row in rows], "data[{}].id")
        async with self._writing(scope) as records:
            ids = await records.create_many(self._model, rows, scope)
            await self._check(records, ids, scope)
        return self._bulk_result("created", ids)

    async def _bulk_update(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        if "filter" in arguments:
            condition = parse_filter(self._view, arguments["filter"])
            async with self._writing(scope) as records:
                ids = await records.update_where(self._model, condition, arguments["data"], scope)
                await self._check(records, ids, scope)
            return self._bulk_result("updated", ids)
        changes = [(row.pop("id"), row) for row in arguments["data"]]
        for position, (_, change) in enumerate(changes):
            if not change:
                raise InvalidArgumentsError(
                    f"data[{position}]: name at least one field to change.",
                    field=f"data[{position}]",
                )
        self._refuse_repeats([key for key, _ in changes], "data[{}].id")
        async with self._writing(scope) as records:
            ids = await records.update_many(self._model, changes, scope)
            await self._check(records, ids, scope)
        return self._bulk_result("updated", ids)

    async def _bulk_delete(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        if "filter" in arguments:
            condition = parse_filter(self._view, arguments["filter"])
            with self._veiled():
                ids = await self._store.delete_where(self._model, condition, scope)
        else:
            self._refuse_repeats(arguments["ids"], "ids[{}]")
            with self._veiled():
                ids = await self._store.delete_many(self._model, arguments["ids"], scope)
        return self._bulk_result("deleted", ids)

    async def _upsert(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        unique = self._unique_key(arguments)
        self._check_unique_values([arguments["data"]], unique, "data")
        async with self._writing(scope) as records:
            row, created = await records.upsert(self._model, arguments["data"], unique, scope)
            await self._check(records, [row["id"]], scope)
        return {**self._shape.record(row), "created": created}

    async def _bulk_upsert(self, arguments: Arguments, scope: Scope) -> dict[str, Any]:
        rows: list[Row] = arguments["data"]
        unique = self._unique_key(arguments)
        self._check_unique_values(rows, unique, "data[{}]")
        async with self._writing(scope) as records:
            outcomes = await records.upsert_many(self._model, rows, unique, scope)
            await self._check(records, [outcome.id for outcome in outcomes], scope)
        made = Counter(outcome.created for outcome in outcomes)
        return {
            "processed": len(outcomes),
            "created": made[True],
            "updated": made[False],
            "ids": [self._key_to_json(outcome.id) for outcome in outcomes],
            "outcomes": ["created" if outcome.created else "updated" for outcome in outcomes],
        }

    async def _count_of(self, condition: Condition, scope: Scope) -> int:
        with self._veiled():
            return await self._store.count(self._model, condition, scope)

    @contextmanager
    def _veiled(self) -> Iterator[None]:
        """Keeps what the store says of a record from naming what the caller does not see."""
        try:
            yield
        except ServerError as error:
            if self._view.base is None:
                raise
            raise veil(error, self._view) from error

    @asynccontextmanager
    async def _writing(self, scope: Scope) -> AsyncIterator[Records]:
        """Where to write: in a transaction, if what is written has to be looked at after it."""
        with self._veiled():
            if scope.check is None:
                yield self._store
            else:
                async with self._transaction() as records:
                    yield records

    async def _check(self, records: Records, keys: Sequence[Any], scope: Scope) -> None:
        """Refuses a write after which the caller could not reach its own records."""
        if scope.check is None:
            return
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = list(keys[start : start + _KEYS_AT_ONCE])
            chosen = Comparison(self._model.key, "$in", some)
            if await records.count(self._model, chosen, scope) != len(some):
                raise beyond_reach(self._model)

    def _unique_key(self, arguments: Arguments) -> tuple[str, ...]:
        keys = [
            key for key in self._view.unique_keys if key != ("id",) or not self._model.generates_key
        ]
        chosen = tuple(arguments.get("conflict_on", keys[0]))
        if chosen not in keys:
            known = [list(key) for key in keys]
            raise InvalidArgumentsError(
                f"conflict_on: this is no unique key of {self._model.name}. Use one of: {known}.",
                field="conflict_on",
                details={"unique_keys": known},
            )
        return chosen

    def _check_unique_values(self, rows: Sequence[Row], unique: tuple[str, ...], path: str) -> None:
        if unique != ("id",):
            for position, row in enumerate(rows):
                for name in unique:
                    if self._unique_value(row, name) is None:
                        where = f"{path.format(position)}.{name}"
                        raise InvalidArgumentsError(
                            f"{where}: a value is required, because records are recognised by it.",
                            field=where,
                        )
        given = [
            tuple(self._unique_value(row, name) for name in unique)
            for row in rows
            if unique != ("id",) or "id" in row
        ]
        self._refuse_repeats(given, path)

    def _unique_value(self, row: Row, name: str) -> Any:
        if name in row:
            return row[name]
        field = self._model.field(name)
        return None if field is None or name == "id" else field.default_value()

    @staticmethod
    def _refuse_repeats(values: Sequence[Any], path: str) -> None:
        seen: set[Any] = set()
        for position, value in enumerate(values):
            if value in seen:
                where = path.format(position)
                raise InvalidArgumentsError(
                    f"{where}: the same record is named twice in one call. Name it once.",
                    field=where,
                )
            seen.add(value)

    def _bulk_result(self, done: str, keys: Sequence[Any]) -> dict[str, Any]:
        return {
            "processed": len(keys),
            done: len(keys),
            "ids": [self._key_to_json(key) for key in keys],
        }

    def _key_to_json(self, key: Any) -> Any:
        return key if self._encode_key is None else self._encode_key(key)

    def _projection(self, arguments: Arguments) -> tuple[RecordShape, tuple[str, ...] | None]:
        fields = arguments.get("fields")
        if fields is None:
            return self._shape, self._all_fields
        # Named twice, a field is shown once: stores take the names for those of columns.
        names = tuple(dict.fromkeys(fields))
        return self._shape.only(names), names

    def _sort(self, arguments: Arguments) -> tuple[Sort, ...]:
        """The order as far as it decides: no two records have the same key."""
        sort = parse_sort(self._view, arguments.get("sort"))
        last = next(at for at, each in enumerate(sort) if each.field is self._model.key)
        return sort[: last + 1]


async def _in_steps(page: Found, shape: RecordShape) -> list[dict[str, Any]]:
    steps = page.records(shape)
    return straight(steps) if len(page) <= _ROWS_IN_ONE_GO else await paced(steps)
