from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.shapes import shape_of
from tests.integration.records.trap_values import good_rows


def test_every_good_row_is_shaped_as_its_types_say(traps: dict[str, Model]) -> None:
    model = traps["TrapOption"]
    shape = shape_of(model)
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for _, returned in good_rows():
        row = {name: model.types[name].from_json(value) for name, value in returned.items()}
        complete = {"id": "x", "created_at": moment, "updated_at": None, **row}

        record = shape.record(complete)

        assert record == {name: kind.to_json(complete[name]) for name, kind in model.types.items()}
        assert list(record) == list(model.types)
        assert {name: record[name] for name in returned} == returned


def test_nulls_and_hidden_fields_pass(traps: dict[str, Model]) -> None:
    model = traps["TrapOption"]
    nothing = dict.fromkeys(model.types)

    assert shape_of(model).record({**nothing, "tenant_id": "a"}) == nothing


def test_a_projection_keeps_its_own_order(traps: dict[str, Model]) -> None:
    shape = shape_of(traps["TrapOption"]).only(["moment", "id"])

    record = shape.record({"id": "x", "text": "t", "moment": datetime(2026, 3, 1, tzinfo=UTC)})

    assert list(record.items()) == [("moment", "2026-03-01T00:00:00+00:00"), ("id", "x")]


def test_a_row_without_a_field_is_a_defect(traps: dict[str, Model]) -> None:
    with pytest.raises(KeyError):
        shape_of(traps["TrapOption"]).record({"id": "x"})
