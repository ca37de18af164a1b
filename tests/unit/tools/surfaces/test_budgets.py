"""How much of an agent's context the tool lists of the reference application take."""

from __future__ import annotations

import json
import sys
from typing import Any, cast
from unittest.mock import Mock

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.observe.metrics_tools import monitor_tools
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.sessions.agent_tools import agent_session_tools
from kailash_mcp_prod.sessions.collaboration_tools import collaboration_tools
from kailash_mcp_prod.sessions.workflow_tools import workflow_tools
from kailash_mcp_prod.tools.spec import ToolSpec
from kailash_mcp_prod.tools.surfaces.names import CHOICES
from tests.json_schema import check_schema
from tests.unit.tools.conftest import Reference

BUDGETS = {"full": 25_000, "compact": 2_500, "search": 1_200}
CHARACTERS_PER_TOKEN = 4


def tools_beside_records() -> list[ToolSpec]:
    """The tools of sessions and of the monitor, which work on nothing here."""
    nothing = cast("Any", Mock(timeout_seconds=3600))
    return [
        *agent_session_tools(nothing),
        *collaboration_tools(nothing),
        *workflow_tools(nothing),
        *monitor_tools(nothing, nothing, {}),
    ]


@pytest.mark.parametrize("surface", CHOICES)
def test_a_list_stays_within_its_budget(
    reference: Reference, surface: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = reference.service()
    service.registry.add(tools_beside_records())
    encoded = service.encoded_list(ANONYMOUS, surface)
    tokens = len(encoded.body.decode()) / CHARACTERS_PER_TOKEN

    with capsys.disabled():
        count = len(json.loads(encoded.body))
        sys.stdout.write(
            f"\n{surface}: {count} tools, {tokens:,.0f} tokens of {BUDGETS[surface]:,}, "
            f"{len(encoded.gzipped):,} bytes compressed\n"
        )
    assert tokens <= BUDGETS[surface]


@pytest.mark.parametrize("surface", CHOICES)
def test_all_schemas_of_a_list_are_valid_and_say_what_is_an_object(
    reference: Reference, surface: str
) -> None:
    service = reference.service(*Operation)
    service.registry.add(tools_beside_records())
    for each in json.loads(service.encoded_list(ANONYMOUS, surface).body):
        schema = each["inputSchema"]
        check_schema(schema)
        assert schema["type"] == "object"
        assert schema.keys() & {"oneOf", "anyOf", "allOf", "not", "enum"} == set()
        assert len(each["name"]) <= 48
        assert each["description"]
        assert each["annotations"].keys() >= {"readOnlyHint", "openWorldHint"}


def test_the_exact_schemas_are_a_setting_away(reference: Reference) -> None:
    for each in [*reference.registry(*Operation), *tools_beside_records()]:
        exact = each.to_mcp(complete=True)

        assert exact["inputSchema"] is each.input_schema
        assert each.output_schema in exact["outputSchema"]["anyOf"]
        assert exact["description"] == each.description
        assert exact["title"] == each.title
