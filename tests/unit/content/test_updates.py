from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kailash_mcp_prod.content.updates import updated_uris
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.spec import ToolSpec
from tests.unit.tools.sample_tools import tool

MODEL = "dataflow://models/Company"


def company(operation: Operation) -> ToolSpec:
    return replace(tool(f"Company_{operation}", group="Company"), operation=operation)


@pytest.mark.parametrize(
    ("operation", "result", "uris"),
    [
        (Operation.CREATE, {"id": "c1", "name": "a"}, [f"{MODEL}/c1", MODEL]),
        (Operation.UPDATE, {"id": 7}, [f"{MODEL}/7", MODEL]),
        (Operation.DELETE, {"id": "a/b", "deleted": True}, [f"{MODEL}/a%2Fb", MODEL]),
        (Operation.UPSERT, {"id": "c1", "created": True}, [f"{MODEL}/c1", MODEL]),
        (Operation.BULK_UPDATE, {"updated": 2, "ids": [1, 2]}, [f"{MODEL}/1", f"{MODEL}/2", MODEL]),
        (Operation.BULK_DELETE, {"deleted": 0, "ids": []}, []),
        (Operation.BULK_CREATE, {"ids": list(range(101))}, [MODEL]),
        (Operation.READ, {"id": "c1"}, []),
        (Operation.LIST, {"records": [{"id": "c1"}]}, []),
        (Operation.CREATE, {"answer": "of an own handler"}, []),
    ],
)
def test_a_write_names_what_it_has_written(
    operation: Operation, result: dict[str, Any], uris: list[str]
) -> None:
    assert updated_uris(company(operation), result) == uris


def test_a_hundred_records_are_told_one_by_one() -> None:
    told = updated_uris(company(Operation.BULK_CREATE), {"ids": list(range(100))})

    assert len(told) == 101


def test_a_tool_that_is_no_record_tool_changes_no_resource() -> None:
    assert updated_uris(tool("Company_create", group="Company"), {"id": "c1"}) == []
