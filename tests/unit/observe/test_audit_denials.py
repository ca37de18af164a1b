from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import UnauthenticatedError
from kailash_mcp_prod.observe import audit_denials
from kailash_mcp_prod.observe.audit_chain import Draft
from kailash_mcp_prod.observe.audit_denials import Denials, Kind, kind_of_error, sought
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall
from tests.unit.tools.sample_tools import tool


class Entries(list[dict[str, Any]]):
    def put(self, draft: Draft) -> None:
        self.append(json.loads(draft.body))


ONE = Kind("key:a", "Item_create", "forbidden", tenant="t1")


async def test_the_first_is_told_at_once_and_the_others_with_their_number() -> None:
    entries = Entries()
    denials = Denials(entries.put)
    for _ in range(1000):
        denials.add(ONE, "r1")
    assert [(each["who"], each.get("count")) for each in entries] == [("key:a", None)]
    denials.tell()
    denials.tell()
    denials.add(ONE, "r2")
    denials.close()

    assert [each.get("count") for each in entries] == [None, 999, None]
    assert [each.get("request_id") for each in entries] == ["r1", None, "r2"]
    assert entries[1]["since"] <= entries[1]["at"]
    assert all(each["denied"] and each["tenant"] == "t1" for each in entries)


async def test_they_are_told_when_the_window_is_over() -> None:
    entries = Entries()
    told = asyncio.Event()

    def put(draft: Draft) -> None:
        entries.put(draft)
        if "count" in entries[-1]:
            told.set()

    denials = Denials(put, window_seconds=0.01)
    denials.add(ONE)
    denials.add(ONE)
    async with asyncio.timeout(5):
        await told.wait()
    denials.close()

    assert [each.get("count") for each in entries] == [None, 1]


async def test_too_many_kinds_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_denials, "MAX_KINDS", 3)
    entries = Entries()
    denials = Denials(entries.put)
    for number in range(100):
        denials.add(ONE._replace(who=f"key:{number}"))
    denials.close()

    assert [each["who"] for each in entries] == ["key:0", "key:1", "key:2", "(others)", "(others)"]
    assert entries[-1]["count"] == 96


def test_a_refused_credential_is_nobody_s_and_is_not_told() -> None:
    kind = kind_of_error(UnauthenticatedError("The key kmp_secret is wrong."), "http")

    assert kind == Kind("unauthenticated", "", "unauthenticated", transport="http")
    assert kind.denied


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Item_create", {}, "Item_create"),
        ("Item_nothing", {}, None),
        ("call_tool", {"name": "Item_create"}, "Item_create"),
        ("call_tool", {"name": ["Item_create"]}, None),
        ("create_record", {"model": "Item"}, "Item_create"),
        ("create_record", {"model": "Other"}, None),
        ("bulk_write", {"model": "Item", "action": "create"}, None),
        ("sessions", {"action": "create"}, "create_agent_session"),
        ("sessions", {"action": {}}, "create_agent_session"),
    ],
)
def test_what_was_sought_is_found_on_every_surface(
    name: str, arguments: dict[str, Any], expected: str | None
) -> None:
    async def never(_call: ToolCall) -> dict[str, Any]:
        raise AssertionError

    registry = ToolRegistry()
    registry.add(replace(tool(each, never)) for each in ("Item_create", "create_agent_session"))
    report = CallReport(ToolCall(ANONYMOUS, arguments, "r1"), name, is_part=False)
    report.finish("not_found")
    found = sought(report, registry)

    assert (found.name if found else None) == expected
