"""Requests that come after others and are not quite the same, or may not be kept."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.transports.http_repeats import Repeats
from tests.integration.repeats.shops import (
    NORTH,
    Site,
    calling,
    reading,
    record_in,
)

NOT_CACHED: list[tuple[str, dict[str, Any]]] = [
    ("Shop_read", {"id": "north-0", "_session_id": "none"}),
    ("Shop_read", {"id": "nobody"}),
    ("Shop_read", {"id": 7}),
    ("Shop_read", {"id": "north-0", "extra": 1}),
    ("Shop_count", {}),
    ("Shop_update", {"id": "north-0", "data": {"size": 5}}),
    ("get_dataflow_models_info", {}),
    ("health_check", {}),
]


async def test_what_is_no_cached_read_is_called_each_time(site: Site, at_once: list[bool]) -> None:
    for tool, arguments in NOT_CACHED:
        body = calling(tool, arguments)
        answers = [await site.post(NORTH, body, tool) for _ in range(4)]
        assert len({each.status_code for each in answers}) == 1

    assert at_once == [False] * 4 * len(NOT_CACHED)


MALFORMED = [
    reading("north-0").replace('"id": 1', '"id": null'),
    reading("north-0").replace('"id": 1', '"id": 1.0'),
    reading("north-0").replace('"id": 1', '"id": true'),
    reading("north-0").replace('"id": 1', '"id": [1]'),
    reading("north-0").replace('"id": 1, ', ""),
    reading("north-0").replace('"2.0"', '"1.0"'),
    reading("north-0").replace('"tools/call"', '"tools/list"'),
    reading("north-0").replace('"tools/call"', "7"),
    reading("north-0")[:-1] + ', "result": {}}',
    reading("north-0")[:-1] + ', "params": {}}',
    reading("north-0").replace('"params"', '"params": 1e999, "params"'),
    reading("north-0").replace('"params"', '"params": {"a": "\udcff"}, "params"'),
    reading("north-0").replace('"params"', '"p\\u0061rams": {}, "params"'),
    reading("north-0").replace('"params"', f'"params": {"[" * 100}{"]" * 100}, "params"'),
    reading("north-0").replace('"id": 1', f'"id": {"[" * 100}{"]" * 100}, "id": 1'),
    reading("north-0").replace('"id": 1', '"id": 1, "id": 1'),
    reading("north-0").replace('"jsonrpc": "2.0"', '"id": 1'),
    reading("north-0").replace('"jsonrpc": "2.0"', '"method": "tools/call"'),
    reading("north-0").replace('"method": "tools/call"', '"jsonrpc": "2.0"'),
    reading("north-0").replace('"id": 1', '"jsonrpc": "2.0"'),
    reading("north-0").replace('"id": 1', '"id": 01'),
    reading("north-0").replace('"id": 1', '"id": "\n"'),
    reading("north-0").replace('"id": 1', '"id": "\udcff"'),
    reading("north-0").replace('"id": 1', '"id": 1, "more": 1'),
    reading("north-0")[:-1] + ', "id": {}}',
    reading("north-0")[:-1],
    reading("north-0") + "}",
    f"[{reading('north-0')}]",
    "",
    "{}",
]


async def test_a_malformed_request_is_refused_as_if_none_had_come_before(
    site: Site, at_once: list[bool]
) -> None:
    def said(response: httpx.Response) -> Any:
        told = json.loads(response.text or "null")
        if isinstance(told, dict):
            told.get("error", {}).get("data", {}).pop("request_id", None)
        return response.status_code, told

    # With another header, nothing that came before is the same.
    afresh = [await site.post(NORTH, body, accept_language="de") for body in MALFORMED]
    await site.three_reads()
    answers = [await site.post(NORTH, body) for body in MALFORMED]

    assert [said(each) for each in answers] == [said(each) for each in afresh]
    assert at_once[-len(MALFORMED) - 1 :] == [True, *[False] * len(MALFORMED)]


async def test_who_repeats_arguments_in_headers_or_comes_from_a_page_is_checked_each_time(
    site: Site, at_once: list[bool]
) -> None:
    await site.three_reads()
    wrong = [
        await site.read(NORTH, "north-0", mcp_name="Shop_list"),
        await site.read(NORTH, "north-0", mcp_method="tools/list"),
        await site.read(NORTH, "north-0", mcp_protocol_version="2026-07-29"),
        await site.read(NORTH, "north-0", origin="https://evil.example"),
        await site.read(NORTH, "north-0", host="evil.example"),
        await site.read(NORTH, "north-0", content_type="text/plain"),
        await site.post(NORTH, reading("north-0"), path="/elsewhere"),
    ]

    assert [each.status_code for each in wrong] == [400, 400, 400, 403, 421, 415, 404]
    assert at_once == [False, False, True, *[False] * len(wrong)]


async def test_only_so_many_are_remembered(
    site: Site, at_once: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[Repeats] = set()
    answer = Repeats.answer

    async def watched(self: Repeats, *args: Any) -> bool:
        self._most = 4
        found.add(self)
        return await answer(self, *args)

    monkeypatch.setattr(Repeats, "answer", watched)
    sizes = range(6)
    for size in sizes:
        body = calling("Shop_list", {"filter": {"size": size}})
        for _ in range(3):
            await site.post(NORTH, body, "Shop_list")
    (repeats,) = found
    assert len(repeats) == 4

    at_once.clear()
    for size in sizes:
        await site.post(NORTH, calling("Shop_list", {"filter": {"size": size}}), "Shop_list")
    assert at_once == [False, False, True, True, True, True]


async def test_a_defect_of_who_watches_calls_is_an_internal_error(
    site: Site, at_once: list[bool]
) -> None:
    await site.three_reads()

    async def break_down(_report: CallReport) -> None:
        raise RuntimeError("no entry")

    async def refuse(_report: CallReport) -> None:
        raise UnavailableError("Not now.")

    settle = site.server.service.watchers._settle
    before = [*settle]
    settle[:] = [break_down]
    broken = (await site.read(NORTH, "north-0", 71)).json()
    settle[:] = [refuse]
    refused = await site.read(NORTH, "north-0", 72)
    settle[:] = before

    assert (broken["id"], broken["error"]["code"]) == (71, -32603)
    assert "no entry" not in json.dumps(broken)
    assert record_in(refused)["error"]["code"] == "unavailable"
    assert record_in(await site.read(NORTH, "north-0"))["id"] == "north-0"
    assert at_once[-3:] == [True] * 3
