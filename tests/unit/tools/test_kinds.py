from __future__ import annotations

from dataclasses import replace

import pytest

from kailash_mcp_prod.records.operations import TRAITS, Operation
from kailash_mcp_prod.tools.kinds import kind_of
from kailash_mcp_prod.tools.spec import Hints
from tests.unit.tools.sample_tools import tool

WRITING = Hints(read_only=False, destructive=False, idempotent=False)


@pytest.mark.parametrize("operation", Operation)
def test_record_tools_are_reads_writes_or_bulk(operation: Operation) -> None:
    reads = TRAITS[operation].access == "read"
    made = tool("Company_x", permissions=(f"Company:{operation}",))
    made = replace(made, operation=str(operation), hints=replace(WRITING, read_only=reads))

    expected = "bulk" if "bulk" in operation else "read" if reads else "write"
    assert kind_of(made) == expected


@pytest.mark.parametrize(
    ("permissions", "kind"),
    [
        (("session:create",), "session"),
        (("workflow:run", "session:read"), "workflow"),
        (("nexus:execute",), "workflow"),
        (("monitor:read",), "monitor"),
        (("Company:read",), "read"),
        ((), "read"),
    ],
)
def test_other_tools_go_by_what_they_need(permissions: tuple[str, ...], kind: str) -> None:
    assert kind_of(tool("x", permissions=permissions)) == kind


def test_a_tool_that_needs_nothing_and_changes_something_is_a_write() -> None:
    assert kind_of(replace(tool("x", permissions=()), hints=WRITING)) == "write"
