"""Generated sequences of operations leave the table as a dictionary of records says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.errors import ServerError
from tests.integration.records.property_values import PROFILE
from tests.integration.records.record_oracle import Plan, RecordTable
from tests.integration.records.trap_app import Json, TrapApp

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

Values = st.SearchStrategy[Any]
TIMESTAMPS = {"created_at", "updated_at"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and values of its fields: few, so that records collide."""

    model: str
    required: dict[str, Values]
    optional: dict[str, Values]

    @property
    def values(self) -> dict[str, Values]:
        return self.required | self.optional


names: Values = st.sampled_from(["a", "A", "%", "'", "ä", "", "b", "1", "01", ":a", "a ", "n"])
codes: Values = st.sampled_from([None, None, "a", "A", "%", "'"])
notes: Values = st.sampled_from([None, "n", "", "' OR 1=1 --"])
SUBJECTS = [
    Subject(
        "TrapSeat",
        {"row": st.sampled_from(["a", "B"]), "number": st.integers(-2, 9)},
        {"code": codes, "guest": notes, "price": st.sampled_from(["10.00", "-1.5"])},
    ),
    Subject("TrapCounter", {"label": names}, {"value": st.integers(-1, 2)}),
    Subject("TrapArchive", {"code": names}, {"note": notes}),
    Subject(
        "TrapVault",
        {"shelf": st.sampled_from(["a", "B"]), "slot": st.integers(-2, 9)},
        {"code": codes, "note": notes},
    ),
]
TEXT_KEYS = ["k1", "k2", "K1", "k 1", "ä", "'", "%", "\\"]
NO_SUCH_NUMBER = 2**31 - 1


class Sequence:
    """One table under test beside its oracle."""

    def __init__(self, app: TrapApp, subject: Subject, data: st.DataObject) -> None:
        self._app = app
        self._subject = subject
        self._data = data
        self._table = RecordTable(app.models[subject.model])
        self._seen: dict[Any, Json] = {}

    async def step(self) -> None:
        """Draw an operation, run it, and compare what it reports and what it leaves."""
        operation = self._draw(st.sampled_from(sorted(_STEPS)), "operation")
        arguments, plan = _STEPS[operation](self)
        self._data.draw(st.just(arguments), label=operation)
        name = operation.partition(",")[0]
        result, refusal = await self._run(name, arguments)
        if refusal is not None:
            assert type(refusal) in plan.refusals, repr(refusal)
            unique_key = (refusal.details or {}).get("unique_key", ["id"])
            assert tuple(unique_key) in self._table.model.unique_keys
            await self._compare(written=set())
            return
        assert plan.possible, (plan.refusals, result)
        keys = result["ids"] if "ids" in result else [result["id"]]
        self._table.apply(plan, sorted(keys) if "filter" in arguments else keys)
        if name.startswith("bulk"):
            made = sum(write.old is None for write in plan.writes)
            counts = {
                "bulk_create": {"created": made},
                "bulk_update": {"updated": len(plan.writes)},
                "bulk_delete": {"deleted": len(plan.deletes)},
                "bulk_upsert": {"created": made, "updated": len(plan.writes) - made},
            }[name]
            outcomes = result.pop("outcomes", None)
            assert result == {"processed": len(keys), **counts, "ids": keys}
            if name == "bulk_upsert":
                made_of = {True: "created", False: "updated"}
                assert outcomes == [made_of[write.old is None] for write in plan.writes]
        elif name == "delete":
            assert result == {"id": arguments["id"], "deleted": True}
        else:
            [write] = plan.writes
            if name == "upsert":
                assert result["created"] is (write.old is None)
            assert result.items() >= write.values.items()
        await self._compare(written=set(keys))
        await self._look(plan)

    async def _run(self, operation: str, arguments: Json) -> tuple[Json, ServerError | None]:
        try:
            return await self._app.call(self._subject.model, operation, **arguments), None
        except ServerError as error:
            return {}, error

    async def _compare(self, written: set[Any]) -> None:
        """The table holds what the oracle does, and what was not written is as it was."""
        model = self._subject.model
        listed = await self._app.call(model, "list", limit=1000, include_total=True)
        records = {record["id"]: record for record in listed["records"]}
        assert listed["total"] == len(listed["records"])
        assert list(records) == sorted(self._table.live)
        for key, record in records.items():
            values = {name: record[name] for name in record if name not in {"id", *TIMESTAMPS}}
            assert values == self._table.live[key]
            before = self._seen.get(key, record)
            assert record["created_at"] == before["created_at"]
            assert key in written or record == before
        self._seen = records

    async def _look(self, plan: Plan) -> None:
        """Read a record that was just written, and count by a filter."""
        model = self._subject.model
        for key in list(self._seen)[: len(plan.writes[:1])]:
            assert await self._app.call(model, "read", id=key) == self._seen[key]
        condition = self._condition()
        counted = await self._app.call(model, "count", filter=condition)
        assert counted == {"count": len(self._table.matching(condition))}

    def finish(self) -> None:
        """Nothing is in the table besides the records and what was deleted softly."""
        rows = self._app.tables.rows(self._subject.model)
        assert sorted(row[0] for row in rows) == sorted(self._table.live | self._table.deleted)

    def _draw(self, strategy: st.SearchStrategy[Any], label: str | None = None) -> Any:
        return self._data.draw(strategy, label=label)

    def _key(self) -> Any:
        known = [*self._table.live, *self._table.deleted]
        others = [NO_SUCH_NUMBER] if self._table.model.generates_key else TEXT_KEYS
        return self._draw(st.sampled_from([*self._table.live, *known, *known, *others]))

    def _keys(self) -> list[Any]:
        live = sorted(self._table.live)
        if live and self._draw(st.booleans()):
            some = st.lists(st.sampled_from(live), min_size=1, max_size=4, unique=True)
            keys: list[Any] = self._draw(some)
            return keys
        return [self._key() for _ in range(self._draw(st.integers(1, 3)))]

    def _row(self) -> Json:
        optional = dict(self._subject.optional)
        if not self._table.model.generates_key:
            optional["id"] = st.sampled_from(TEXT_KEYS)
        row: Json = self._draw(st.fixed_dictionaries(self._subject.required, optional=optional))
        return row

    def _rows(self) -> list[Json]:
        return [self._row() for _ in range(self._draw(st.integers(1, 4)))]

    def _change(self) -> Json:
        values = self._subject.values
        chosen = st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=3, unique=True)
        return {name: self._draw(values[name]) for name in self._draw(chosen)}

    def _condition(self) -> Json:
        values = self._subject.values
        name = self._draw(st.sampled_from(sorted(values)))
        value = values[name]
        condition: Json = self._draw(
            st.one_of(
                st.builds(lambda each: {name: each}, value),
                st.builds(lambda each: {name: {"$ne": each}}, value),
                st.builds(lambda each: {"$not": {name: each}}, value),
                st.builds(
                    lambda each: {name: {"$in": [one for one in each if one is not None]}},
                    st.lists(value, max_size=3),
                ),
                st.just({"id": {"$in": self._table.matching({})[::2]}}),
            )
        )
        return condition

    def _unique(self) -> tuple[str, ...]:
        model = self._table.model
        known = [key for key in model.unique_keys if key != ("id",) or not model.generates_key]
        unique: tuple[str, ...] = self._draw(st.sampled_from(known))
        return unique

    def create(self) -> tuple[Json, Plan]:
        row = self._row()
        return {"data": row}, self._table.create([row])

    def update(self) -> tuple[Json, Plan]:
        key, change = self._key(), self._change()
        return {"id": key, "data": change}, self._table.update([(key, change)])

    def update_expecting(self) -> tuple[Json, Plan]:
        key, change, expected = self._key(), self._change(), self._change()
        held = self._table.live.get(key)
        if held and self._draw(st.booleans()):
            expected = {"id": key, **{name: held[name] for name in expected}}
        arguments = {"id": key, "data": change, "expected": expected}
        return arguments, self._table.update([(key, change)], expected)

    def delete(self) -> tuple[Json, Plan]:
        key = self._key()
        return {"id": key}, self._table.delete([key])

    def upsert(self) -> tuple[Json, Plan]:
        row, unique = self._row(), self._unique()
        return {"data": row, "conflict_on": [*unique]}, self._table.upsert([row], unique)

    def bulk_create(self) -> tuple[Json, Plan]:
        rows = self._rows()
        return {"data": rows}, self._table.create(rows)

    def bulk_update(self) -> tuple[Json, Plan]:
        changes = [(key, self._change()) for key in self._keys()]
        rows = [{"id": key, **change} for key, change in changes]
        return {"data": rows}, self._table.update(changes)

    def bulk_update_where(self) -> tuple[Json, Plan]:
        condition, change = self._condition(), self._change()
        keys = sorted(self._table.matching(condition))
        arguments = {"filter": condition, "data": change}
        return arguments, self._table.update([(key, change) for key in keys])

    def bulk_delete(self) -> tuple[Json, Plan]:
        keys = self._keys()
        return {"ids": keys}, self._table.delete(keys)

    def bulk_delete_where(self) -> tuple[Json, Plan]:
        condition = self._condition()
        return {"filter": condition}, self._table.delete(self._table.matching(condition))

    def bulk_upsert(self) -> tuple[Json, Plan]:
        rows, unique = self._rows(), self._unique()
        return {"data": rows, "conflict_on": [*unique]}, self._table.upsert(rows, unique)


_STEPS = {
    "create": Sequence.create,
    "update": Sequence.update,
    "update, expecting": Sequence.update_expecting,
    "delete": Sequence.delete,
    "upsert": Sequence.upsert,
    "bulk_create": Sequence.bulk_create,
    "bulk_update": Sequence.bulk_update,
    "bulk_update, filter": Sequence.bulk_update_where,
    "bulk_delete": Sequence.bulk_delete,
    "bulk_delete, filter": Sequence.bulk_delete_where,
    "bulk_upsert": Sequence.bulk_upsert,
}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.model)
@settings(PROFILE, max_examples=6)
@given(data=st.data())
async def test_a_sequence_of_operations_leaves_what_the_oracle_says(
    app: TrapApp, subject: Subject, data: st.DataObject
) -> None:
    app.tables.clear()
    sequence = Sequence(app, subject, data)
    for _ in range(25):
        await sequence.step()
    sequence.finish()
