"""Runs an operation: arguments in, the structured result out. The strict layer's other half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.arguments import DEFAULT_LIMIT, ArgumentsModel
from kailash_mcp_prod.records.filters import parse_filter, parse_sort
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.query import Query
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.types import record_to_json

Arguments = Mapping[str, Any]

MAX_RESULT_CHARACTERS = 8 * 1024 * 1024
_PLAIN_SIZE = 8


class RecordOperation:
    """One operation of one model on a store.

    Args:
        store: Where the records are.
        model: The model.
        operation: The operation.
    """

    def __init__(self, store: RecordStore, model: Model, operation: Operation) -> None:
        self._store = store
        self._model = model
        self._types = model.types
        self._arguments = ArgumentsModel(model, operation)
        self._run = getattr(self, f"_{operation}")

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return self._arguments.schema

    async def __call__(self, raw: Arguments) -> dict[str, Any]:
        """Validates the arguments, runs the operation and shapes the result.

        Raises:
            ServerError: The call is wrong or can't be done; nothing has changed.
        """
        result: dict[str, Any] = await self._run(self._arguments.validate(raw))
        return result

    async def _create(self, arguments: Arguments) -> dict[str, Any]:
        row = await self._store.create(self._model, self._model.complete(arguments["data"]))
        return record_to_json(self._types, row)

    async def _read(self, arguments: Arguments) -> dict[str, Any]:
        row = await self._store.read(self._model, arguments["id"])
        return self._project(row, arguments.get("fields"))

    async def _update(self, arguments: Arguments) -> dict[str, Any]:
        row = await self._store.update(
            self._model, arguments["id"], arguments["data"], arguments.get("expected", {})
        )
        return record_to_json(self._types, row)

    async def _delete(self, arguments: Arguments) -> dict[str, Any]:
        await self._store.delete(self._model, arguments["id"])
        return {"id": self._key_to_json(arguments["id"]), "deleted": True}

    async def _list(self, arguments: Arguments) -> dict[str, Any]:
        condition = parse_filter(self._model, arguments.get("filter"))
        limit = arguments.get("limit", DEFAULT_LIMIT)
        query = Query(
            condition,
            parse_sort(self._model, arguments.get("sort")),
            limit,
            arguments.get("offset", 0),
        )
        rows = await self._store.find(self._model, query)
        records = [self._project(row, arguments.get("fields")) for row in rows]
        _refuse_excess(records)
        result: dict[str, Any] = {
            "records": records,
            "count": len(rows),
            "limit": limit,
        }
        if arguments.get("include_total"):
            result["total"] = await self._store.count(self._model, condition)
        return result

    async def _count(self, arguments: Arguments) -> dict[str, Any]:
        condition = parse_filter(self._model, arguments.get("filter"))
        return {"count": await self._store.count(self._model, condition)}

    async def _bulk_create(self, arguments: Arguments) -> dict[str, Any]:
        rows = [self._model.complete(each) for each in arguments["data"]]
        if not self._model.generates_key:
            self._refuse_repeats([row["id"] for row in rows], "data[{}].id")
        return self._bulk_result("created", await self._store.create_many(self._model, rows))

    async def _bulk_update(self, arguments: Arguments) -> dict[str, Any]:
        if "filter" in arguments:
            condition = parse_filter(self._model, arguments["filter"])
            ids = await self._store.update_where(self._model, condition, arguments["data"])
            return self._bulk_result("updated", ids)
        changes = [
            (each["id"], {name: value for name, value in each.items() if name != "id"})
            for each in arguments["data"]
        ]
        for position, (_, change) in enumerate(changes):
            if not change:
                raise InvalidArgumentsError(
                    f"data[{position}]: name at least one field to change.",
                    field=f"data[{position}]",
                )
        self._refuse_repeats([key for key, _ in changes], "data[{}].id")
        return self._bulk_result("updated", await self._store.update_many(self._model, changes))

    async def _bulk_delete(self, arguments: Arguments) -> dict[str, Any]:
        if "filter" in arguments:
            condition = parse_filter(self._model, arguments["filter"])
            ids = await self._store.delete_where(self._model, condition)
        else:
            self._refuse_repeats(arguments["ids"], "ids[{}]")
            ids = await self._store.delete_many(self._model, arguments["ids"])
        return self._bulk_result("deleted", ids)

    async def _upsert(self, arguments: Arguments) -> dict[str, Any]:
        unique = self._unique_key(arguments)
        self._check_unique_values([arguments["data"]], unique, "data")
        [outcome] = await self._store.upsert_many(self._model, [arguments["data"]], unique)
        row = await self._store.read(self._model, outcome.id)
        return {**record_to_json(self._types, row), "created": outcome.created}

    async def _bulk_upsert(self, arguments: Arguments) -> dict[str, Any]:
        rows: list[Row] = arguments["data"]
        unique = self._unique_key(arguments)
        self._check_unique_values(rows, unique, "data[{}]")
        outcomes = await self._store.upsert_many(self._model, rows, unique)
        made = Counter(outcome.created for outcome in outcomes)
        return {
            "processed": len(outcomes),
            "created": made[True],
            "updated": made[False],
            "ids": [self._key_to_json(outcome.id) for outcome in outcomes],
        }

    def _unique_key(self, arguments: Arguments) -> tuple[str, ...]:
        keys = [
            key
            for key in self._model.unique_keys
            if key != ("id",) or not self._model.generates_key
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
        return self._model.key.type.to_json(key)

    def _project(self, row: Row, fields: Sequence[str] | None) -> dict[str, Any]:
        record = record_to_json(self._types, row)
        return record if fields is None else {name: record[name] for name in fields}


def _refuse_excess(records: Sequence[dict[str, Any]]) -> None:
    size = 0
    for record in records:
        size += sum(_size(value) for value in record.values())
        if size > MAX_RESULT_CHARACTERS:
            raise InvalidArgumentsError(
                f"The page has more than {MAX_RESULT_CHARACTERS} characters. Ask for fewer records "
                "with limit, or for less of each with fields.",
                field="limit",
            )


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case dict():
            return sum(len(key) + _size(each) for key, each in value.items())
        case list():
            return sum(_size(each) for each in value)
    return _PLAIN_SIZE
