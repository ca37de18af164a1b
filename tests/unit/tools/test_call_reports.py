from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import ConflictError, ServerError, UnavailableError
from kailash_mcp_prod.records.store import Transaction
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall
from tests.unit.tools.sample_tools import service_of, tool


class Watcher:
    """Keeps what it is told."""

    def __init__(self, refusal: ServerError | None = None) -> None:
        self.begun: list[CallReport] = []
        self.settled: list[tuple[str, str]] = []
        self.ended: list[CallReport] = []
        self.refusal = refusal

    def begin(self, report: CallReport) -> None:
        assert not report.outcome
        self.begun.append(report)

    async def settle(self, report: CallReport) -> None:
        self.settled.append((report.name, report.outcome))
        if self.refusal is not None:
            raise self.refusal

    def end(self, report: CallReport) -> None:
        self.ended.append(report)


class Broken(Watcher):
    def begin(self, report: CallReport) -> None:
        raise ValueError(report.name)

    def end(self, report: CallReport) -> None:
        raise ValueError(report.name)


def watched(service: ToolService, watcher: Watcher | None = None) -> Watcher:
    watcher = watcher or Watcher()
    service.watchers.add(begin=watcher.begin, settle=watcher.settle, end=watcher.end)
    return watcher


async def answer(_call: ToolCall) -> dict[str, Any]:
    return {"out": 1}


async def call(service: ToolService, name: str, principal: Principal = ANONYMOUS) -> Any:
    return await service.call(principal, name, {"x": 1}, request_id="r1")


async def test_a_call_is_told_of_with_what_it_came_to() -> None:
    service = service_of(tool("a", answer))
    watcher = watched(service)
    await call(service, "a")

    (report,) = watcher.ended
    assert watcher.begun == [report]
    assert watcher.settled == [("a", "ok")]
    assert report.tool is service.registry.get("a")
    assert report.call.arguments == {"x": 1}
    assert (report.outcome, report.result, report.error) == ("ok", {"out": 1}, None)
    assert 0 < report.seconds < 10
    assert not report.is_part
    assert not report.from_cache


async def test_so_is_one_that_came_to_nothing() -> None:
    async def refuse(_call: ToolCall) -> dict[str, Any]:
        raise ConflictError("Taken.")

    service = service_of(tool("a", refuse))
    watcher = watched(service)
    for name in ("a", "b"):
        with pytest.raises(ServerError):
            await call(service, name)

    assert [(each.name, each.outcome) for each in watcher.ended] == [
        ("a", "conflict"),
        ("b", "not_found"),
    ]
    assert isinstance(watcher.ended[0].error, ConflictError)
    assert watcher.ended[1].tool is None


async def test_a_cancelled_call_ends_without_being_settled() -> None:
    started = asyncio.Event()

    async def hang(_call: ToolCall) -> dict[str, Any]:
        started.set()
        await asyncio.Event().wait()
        return {}

    service = service_of(tool("a", hang))
    watcher = watched(service)
    running = asyncio.create_task(call(service, "a"))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not watcher.settled
    assert [each.outcome for each in watcher.ended] == ["cancelled"]


async def test_a_result_that_must_not_go_out_does_not() -> None:
    service = service_of(tool("a", answer))
    watcher = watched(service, Watcher(UnavailableError("Not kept.")))
    with pytest.raises(UnavailableError):
        await call(service, "a")

    assert [each.outcome for each in watcher.ended] == ["unavailable"]


async def test_a_watcher_that_breaks_changes_nothing() -> None:
    service = service_of(tool("a", answer))
    watched(service, Broken())
    watcher = watched(service)

    assert await call(service, "a") == {"out": 1}
    assert len(watcher.ended) == 1


async def test_parts_are_told_of_and_those_in_a_transaction_belong_to_what_began_it() -> None:
    transaction = cast("Transaction", object())

    async def outer(given: ToolCall) -> dict[str, Any]:
        inside = ToolCall(given.principal, {}, given.request_id, within=transaction)
        await service.call_part(ToolCall(given.principal, {}, given.request_id), "inner")
        await service.call_part(inside, "inner")
        await asyncio.create_task(service.call_part(inside, "inner"))
        return {}

    service = service_of(replace(tool("outer", outer), runs_others=True), tool("inner", answer))
    watcher = watched(service)
    await call(service, "outer")

    alone, first, second, whole = watcher.ended
    assert [each.is_part for each in watcher.ended] == [True, True, True, False]
    assert whole.parts == [first, second]
    assert first.within is whole
    assert alone.within is None
    assert watcher.settled == [("inner", "ok"), ("outer", "ok")]
