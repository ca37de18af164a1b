"""One line for each call, whatever becomes of it, and what DEBUG explains of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import AccessRule
from kailash_mcp_prod.errors import ConflictError, ServerError
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.observe.call_log import CallLog
from kailash_mcp_prod.observe.log_lines import CALLS
from kailash_mcp_prod.tools.call_details import CallDetails, Decisions
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall
from tests.unit.tools.sample_tools import service_of, tool

ALICE = Principal("alice", frozenset({"Item:read"}))
SECRET = "the-word-of-the-caller-71"


async def echo(call: ToolCall) -> dict[str, Any]:
    if call.arguments.get("fail"):
        raise ConflictError("There is one already.")
    if call.arguments.get("break"):
        raise LookupError("defect")
    if call.arguments.get("hang"):
        await asyncio.Event().wait()
    return {"records": [dict(call.arguments)]}


@pytest.fixture
def service() -> ToolService:
    return service_of(
        tool("Item_list", permissions=("Item:list",), group="Item", handler=echo),
        tool("Item_create", permissions=("Item:create",), group="Item", handler=echo),
    )


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The lines of calls and decisions, as fields; filled when it is asked for."""
    caplog.set_level(logging.DEBUG, "kailash_mcp_prod")
    lines: list[dict[str, Any]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name in {CALLS, "kailash_mcp_prod.decisions"}:
                lines.append({"event": record.getMessage(), **vars(record)})

    handler = Handler()
    logging.getLogger("kailash_mcp_prod").addHandler(handler)
    yield lines
    logging.getLogger("kailash_mcp_prod").removeHandler(handler)


def watch(service: ToolService, *, arguments: bool = False, rates: RateLimit | None = None) -> None:
    rule = AccessRule(hide=frozenset({"salary"}))
    policy = Policy(rules={"Item": rule})
    decisions = Decisions(
        policy, service.registry, rates or RateLimit(100), Breakers(5, 30), caches=True
    )
    calls = CallLog(CallDetails(policy) if arguments else None, decisions)
    service.watchers.add(end=calls.end)


async def call(service: ToolService, name: str, **arguments: Any) -> None:
    try:
        await service.call(ALICE, name, {"word": SECRET, **arguments}, request_id="r1")
    except ServerError:
        return


@pytest.mark.parametrize(
    ("name", "arguments", "outcome"),
    [
        ("Item_list", {}, "ok"),
        ("Item_list", {"fail": True}, "conflict"),
        ("Item_list", {"break": True}, "internal"),
        ("Item_create", {}, "not_found"),
        ("nothing\r\nforged", {}, "not_found"),
    ],
)
async def test_each_call_is_one_line_without_its_arguments(
    service: ToolService,
    told: list[dict[str, Any]],
    name: str,
    arguments: dict[str, Any],
    outcome: str,
) -> None:
    watch(service)
    await call(service, name, **arguments)

    [line] = [each for each in told if each["event"] == "call"]
    assert (line["request_id"], line["agent"], line["tool"]) == ("r1", "alice", name)
    assert (line["outcome"], line["from_cache"], line["levelname"]) == (outcome, False, "INFO")
    assert line["duration_ms"] > 0
    assert SECRET not in str(told)


async def test_a_call_that_is_cancelled_is_a_line_too(
    service: ToolService, told: list[dict[str, Any]]
) -> None:
    watch(service)
    running = asyncio.create_task(call(service, "Item_list", hang=True))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})

    assert [each["outcome"] for each in told if each["event"] == "call"] == ["cancelled"]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("Item_list", "granted by Item:read; hides salary"),
        ("Item_create", "no grant covers Item:create"),
        ("nothing", "not a tool that the caller may use"),
    ],
)
async def test_debug_says_which_rule_decided_and_what_is_left(
    service: ToolService, told: list[dict[str, Any]], name: str, policy: str
) -> None:
    watch(service, rates=RateLimit(7))
    await call(service, name)

    [line] = [each for each in told if each["event"] == "decision"]
    assert line["policy"] == policy
    assert line["limits"] == "7 of 7 left to the caller"
    assert line["breaker"] == ("closed" if name == "Item_list" else "not asked")
    assert line["cache"] == "not a read of records"
    assert line["request_id"] == "r1"
    assert SECRET not in str(told)


async def test_at_info_no_decision_is_told(
    service: ToolService, told: list[dict[str, Any]]
) -> None:
    logging.getLogger("kailash_mcp_prod").setLevel(logging.INFO)
    watch(service)
    await call(service, "Item_list")

    assert [each["event"] for each in told] == ["call"]


async def test_arguments_are_told_when_asked_for_and_then_masked(
    service: ToolService, told: list[dict[str, Any]]
) -> None:
    watch(service, arguments=True)
    await call(service, "Item_list", salary=SECRET, password=SECRET, filter={"salary": 1}, n=3)

    line = told[-1]
    assert line["arguments"] == {
        "word": SECRET,
        "salary": "***",
        "password": "***",
        "filter": {"salary": "***"},
        "n": 3,
    }
    assert line["result"] == {"records": "1 items"}
