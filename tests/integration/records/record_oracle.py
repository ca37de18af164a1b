"""What a table must hold after each operation, kept as a dictionary of records in JSON form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, NotFoundError, ServerError
from kailash_mcp_prod.records.model import Model
from tests.integration.records.trap_oracle import truth

Json = dict[str, Any]
Refusals = frozenset[type[ServerError]]

NONE: Refusals = frozenset()
CONFLICT: Refusals = frozenset({ConflictError})
INVALID: Refusals = frozenset({InvalidArgumentsError})
MISSING: Refusals = frozenset({NotFoundError})


@dataclass(frozen=True, slots=True)
class Written:
    """A record as it shall be. A new one has no `old` key; its own may be left to the server."""

    old: Any
    key: Any
    values: Json


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation shall do.

    `refusals` are the errors that may refuse it. It may be done as well where `possible`: whether
    a unique key is free depends on the order in which rows of one call are written.
    """

    refusals: Refusals = NONE
    possible: bool = True
    writes: tuple[Written, ...] = ()
    deletes: tuple[Any, ...] = ()


def refused(refusals: Refusals) -> Plan:
    return Plan(refusals, possible=False)


@dataclass
class RecordTable:
    """The records of a model, and those that were deleted softly. Values hold no key."""

    model: Model
    live: dict[Any, Json] = field(default_factory=dict)
    deleted: dict[Any, Json] = field(default_factory=dict)

    def defaults(self) -> Json:
        return {each.name: each.type.to_json(each.default_value()) for each in self.model.writable}

    def matching(self, condition: Json) -> list[Any]:
        return [
            key
            for key, values in self.live.items()
            if truth(condition, {"id": key, **values}) is True
        ]

    def create(self, rows: list[Json]) -> Plan:
        if _repeats(row["id"] for row in rows if "id" in row):
            return refused(INVALID)
        return self._written([self._new(row) for row in rows])

    def update(self, changes: list[tuple[Any, Json]], expected: Json | None = None) -> Plan:
        keys = [key for key, _ in changes]
        if _repeats(keys):
            return refused(INVALID)
        known = [(key, change) for key, change in changes if key in self.live]
        plan = self._written(
            [Written(key, key, {**self.live[key], **change}) for key, change in known]
        )
        if len(known) < len(changes):
            return refused(plan.refusals | MISSING)
        held = [{"id": key, **self.live[key]} for key in keys]
        if expected and any(expected.items() - record.items() for record in held):
            return refused(CONFLICT)
        return plan

    def delete(self, keys: list[Any]) -> Plan:
        if _repeats(keys):
            return refused(INVALID)
        if not all(key in self.live for key in keys):
            return refused(MISSING)
        return Plan(deletes=tuple(keys))

    def upsert(self, rows: list[Json], unique: tuple[str, ...]) -> Plan:
        if unique == ("id",):
            named = [(row["id"],) for row in rows if "id" in row]
        else:
            named = [self._unique_value({**self.defaults(), **row}, unique) for row in rows]
        if _repeats(named) or any(None in values for values in named):
            return refused(INVALID)
        writes = []
        for row in rows:
            old = self._recognised(row, unique)
            if old is None:
                writes.append(self._new(row))
            elif row.get("id", old) != old:
                return refused(CONFLICT)
            else:
                given = {name: value for name, value in row.items() if name != "id"}
                writes.append(Written(old, old, {**self.live[old], **given}))
        return self._written(writes)

    def apply(self, plan: Plan, keys: list[Any]) -> None:
        """Do what was planned; `keys` are those that the server reports, in order."""
        for written, key in zip(plan.writes, keys, strict=not plan.deletes):
            assert written.key in {None, key}
            assert written.old is not None or key not in self.live | self.deleted
            self.live[key] = written.values
        assert plan.writes or sorted(plan.deletes) == sorted(keys)
        for key in plan.deletes:
            gone = self.live.pop(key)
            if self.model.soft_delete:
                self.deleted[key] = gone

    def _new(self, row: Json) -> Written:
        values = {**self.defaults(), **row}
        return Written(None, values.pop("id", None), values)

    def _recognised(self, row: Json, unique: tuple[str, ...]) -> Any:
        if unique == ("id",):
            key = row.get("id")
            return key if key in self.live else None
        wanted = self._unique_value({**self.defaults(), **row}, unique)
        for key, values in self.live.items():
            if self._unique_value(values, unique) == wanted:
                return key
        return None

    def _written(self, writes: list[Written]) -> Plan:
        keys = [write.key for write in writes if write.old is None and write.key is not None]
        if _repeats(keys) or any(key in self.live | self.deleted for key in keys):
            return refused(CONFLICT)
        changed = {write.old for write in writes}
        untouched = [
            values for key, values in (self.live | self.deleted).items() if key not in changed
        ]
        if self._clash([*untouched, *(write.values for write in writes)]):
            return refused(CONFLICT)
        return Plan(CONFLICT if self._cross(writes) else NONE, writes=tuple(writes))

    def _clash(self, records: list[Json]) -> bool:
        return any(
            _repeats(
                value
                for record in records
                if None not in (value := self._unique_value(record, unique))
            )
            for unique in self._declared()
        )

    def _cross(self, writes: list[Written]) -> bool:
        """Whether a write takes a unique value that another one gives up."""
        return any(
            self._unique_value(taker.values, unique)
            == self._unique_value(self.live[giver.old], unique)
            for unique in self._declared()
            for giver in writes
            if giver.old is not None
            for taker in writes
            if taker is not giver
        )

    def _declared(self) -> Iterator[tuple[str, ...]]:
        return (unique for unique in self.model.unique_keys if unique != ("id",))

    @staticmethod
    def _unique_value(values: Json, unique: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(values[name] for name in unique)


def _repeats(values: Iterable[Any]) -> bool:
    return any(count > 1 for count in Counter(values).values())
