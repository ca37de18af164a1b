"""Lists by cursor over HTTP: what a client may do with a cursor, and what it may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import HttpServer, serving

KEY = "a-key-for-the-tests-of-the-pages"
LIST: dict[str, Any] = {
    "filter": {"industry": "paging"},
    "sort": ["-name"],
    "fields": ["name"],
    "limit": 2,
}


def post(server: HttpServer, tool: str, arguments: dict[str, Any]) -> httpx.Response:
    headers = {"X-API-Key": KEY}
    return httpx.post(f"{server.rest}/tools/{tool}", json=arguments, headers=headers, timeout=20)


def page(server: HttpServer, **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = post(server, "Company_list", LIST | more).raise_for_status().json()
    return result


def names(result: dict[str, Any]) -> list[str]:
    return [record["name"] for record in result["records"]]


@pytest.fixture(scope="module")
def server(development_server: HttpServer) -> HttpServer:
    """A server with seven companies more, `S0` to `S6`."""
    data = [{"name": f"S{number}", "industry": "paging"} for number in range(7)]
    post(development_server, "Company_bulk_create", {"data": data}).raise_for_status()
    return development_server


def test_writes_of_others_neither_repeat_nor_skip_a_record(server: HttpServer) -> None:
    arguments = {"filter": {"name": {"$like": "S_"}}}
    first = page(server, **arguments)
    assert names(first) == ["S6", "S5"]

    [gone] = page(server, filter={"name": "S5"}, fields=["id"])["records"]
    post(server, "Company_delete", gone).raise_for_status()
    post(server, "Company_create", {"data": {"name": "S9"}}).raise_for_status()
    second = page(server, **arguments, cursor=first["next_cursor"], limit=4)
    third = page(server, **arguments, cursor=second["next_cursor"], include_total=True)

    assert [names(second), names(third)] == [["S4", "S3", "S2", "S1"], ["S0"]]
    assert "next_cursor" not in third
    assert third["total"] == 7


@pytest.mark.parametrize(
    "change",
    [
        {"filter": {"industry": "paper"}},
        {"filter": {}},
        {"sort": ["name"]},
        {"sort": ["-name", "city"]},
        {"cursor": "AQ"},
        {"cursor": "not a cursor"},
    ],
    ids=json.dumps,
)
def test_a_cursor_continues_no_other_list(server: HttpServer, change: dict[str, Any]) -> None:
    cursor = page(server)["next_cursor"]

    refused = post(server, "Company_list", {**LIST, "cursor": cursor, **change})

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "invalid_arguments")
    assert error["field"] == "cursor"


def test_a_cursor_with_any_character_changed_is_refused(server: HttpServer) -> None:
    cursor = page(server)["next_cursor"]

    for at in range(len(cursor)):
        other = "A" if cursor[at] != "A" else "B"
        forged = cursor[:at] + other + cursor[at + 1 :]
        refused = post(server, "Company_list", {**LIST, "cursor": forged})
        assert refused.status_code == 400, forged
        assert refused.json()["error"]["field"] == "cursor"


def test_a_cursor_outlives_a_restart_with_the_same_secret_and_no_other(tmp_path: Path) -> None:
    keys = json.dumps({KEY: {"agent_id": "reader", "permissions": ["*"]}})
    signing = {"API_KEYS": keys, "MCP_CURSOR_SECRET": "a secret of cursors, long enough for it"}
    data = [{"name": f"S{number}", "industry": "paging"} for number in range(3)]
    with serving(tmp_path, settings=signing) as first:
        post(first, "Company_bulk_create", {"data": data}).raise_for_status()
        cursor = page(first)["next_cursor"]
    with serving(tmp_path, settings=signing) as second:
        assert names(page(second, cursor=cursor)) == ["S0"]
    with serving(tmp_path, settings={"API_KEYS": keys}) as third:
        # API keys alone sign nothing: whoever holds a cursor could try out short ones on it.
        assert post(third, "Company_list", {**LIST, "cursor": cursor}).status_code == 400
