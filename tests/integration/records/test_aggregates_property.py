"""Generated aggregations give what plain Python makes of the same records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.results import result_schema
from tests.integration.records.aggregate_oracle import FUNCTIONS, aggregated, agrees
from tests.integration.records.property_values import PROFILE, SORTABLE, conditions, tables
from tests.integration.records.trap_app import Json, TrapApp

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

MODEL = "TrapMatter"
NUMBERS = ("price", "amount", "whole", "real", "level")
ORDERED = ("id", "label", "text", "moment", "day", *NUMBERS)
FIELDS = {"sum": NUMBERS, "avg": NUMBERS, "min": ORDERED, "max": ORDERED}


@st.composite
def aggregations(draw: st.DrawFn, records: list[Json]) -> Json:
    """Arguments of an aggregation of these records."""
    group_by = draw(st.lists(st.sampled_from(SORTABLE), max_size=3, unique=True))
    asked: Json = {"group_by": group_by}
    for function in FUNCTIONS:
        fields = FIELDS.get(function, SORTABLE)
        asked[function] = draw(st.lists(st.sampled_from(fields), max_size=3, unique=True))
    sortable = ["count", *group_by]
    for function in FUNCTIONS:
        # Two sums of floats may be equal but for the order in which they were added.
        sortable += [
            f"{function}.{name}"
            for name in asked[function]
            if name != "real" or function not in {"sum", "avg"}
        ]
    names = draw(st.lists(st.sampled_from(sortable), max_size=3, unique=True))
    asked["sort"] = [draw(st.sampled_from(["", "-"])) + name for name in names]
    asked["limit"] = draw(st.sampled_from([1, 2, 3, 100]))
    condition = draw(st.just({}) | conditions(records, depth=2))
    return {**asked, "filter": condition} if condition else asked


@settings(PROFILE, max_examples=8)
@given(data=st.data())
async def test_generated_aggregations_give_what_the_oracle_does(
    app: TrapApp, data: st.DataObject
) -> None:
    schema = Draft202012Validator(result_schema(app.models[MODEL], Operation.AGGREGATE))
    app.tables.clear()
    await app.call(MODEL, "bulk_create", data=data.draw(tables()))
    records = (await app.call(MODEL, "list", limit=1000))["records"]
    slack = 1e-12 * sum(abs(each["real"] or 0) for each in records)
    for _ in range(16):
        asked: dict[str, Any] = data.draw(aggregations(records))
        result = await app.call(MODEL, "aggregate", **asked)

        expected = aggregated(records, asked)
        assert agrees(result, expected, slack), (asked, result, expected)
        schema.validate(result)
