"""The same records, results and errors through every surface of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.background import run_on
from kailash_mcp_prod.errors import ServerError
from tests.e2e.exchanges import ModernHttp

Step = tuple[str, dict[str, Any]]
Route = Callable[[str, dict[str, Any]], tuple[str, str, dict[str, Any]]]

SHORTCUTS = {
    "list": "find_records",
    "read": "get_record",
    "create": "create_record",
    "update": "update_record",
    "delete": "delete_record",
    "aggregate": "aggregate_records",
}
KEYS = {
    "plain": {"permissions": ["*"]},
    "compact": {"permissions": ["*"], "surface": "compact"},
    "reader": {"permissions": ["Item:read"], "surface": "models/Item"},
}


class Item:
    """Something on a shelf."""

    id: str
    name: str
    amount: int = 0


class Shelf:
    """Where items are."""

    id: str
    place: str | None = None


@pytest.fixture
def db(database_url: str) -> Any:
    db = DataFlow(database_url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    db.model(Item)
    db.model(Shelf)
    return db


def serving(db: Any, **settings: Any) -> Iterator[ProductionMCPServer]:
    server = ProductionMCPServer(ServerConfig(port=0, **settings), dataflow=db)
    server.start_mcp_server_async()
    yield server
    server.stop_mcp_server()


@pytest.fixture
def server(db: Any) -> Iterator[ProductionMCPServer]:
    every = (
        "create,read,update,delete,list,bulk_create,bulk_update,bulk_delete,bulk_upsert,aggregate"
    )
    yield from serving(db, enable_auth=False, operations=every)


@pytest.fixture
def guarded(db: Any) -> Iterator[ProductionMCPServer]:
    yield from serving(db, api_keys=KEYS, surface="search")


def directly(operation: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "full", f"Item_{operation}", arguments


def among_models(operation: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "models/Item", f"Item_{operation}", arguments


def by_shortcut(operation: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    if operation in SHORTCUTS:
        return "compact", SHORTCUTS[operation], {"model": "Item", **arguments}
    action = operation.removeprefix("bulk_")
    return "compact", "bulk_write", {"model": "Item", "action": action, **arguments}


def by_name(operation: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "compact", "call_tool", {"name": f"Item_{operation}", "arguments": arguments}


def by_search(operation: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "search", "call_tool", {"name": f"Item_{operation}", "arguments": arguments}


def steps(own: str) -> list[Step]:
    """Operations on records that belong to one route alone."""
    mine = {"id": {"$like": f"{own}-%"}}
    return [
        ("create", {"data": {"id": f"{own}-1", "name": "one"}}),
        ("create", {"data": {"id": f"{own}-1", "name": "twice"}}),
        ("create", {"data": {"id": f"{own}-x", "name": 5}}),
        ("bulk_create", {"data": [{"id": f"{own}-{n}", "name": f"n{n}"} for n in (2, 3, 4)]}),
        ("bulk_create", {"data": [{"id": f"{own}-9", "name": "a"}, {"id": f"{own}-9"}]}),
        ("read", {"id": f"{own}-2", "fields": ["name", "amount"]}),
        ("read", {"id": f"{own}-nobody"}),
        ("update", {"id": f"{own}-2", "data": {"amount": 7}, "expected": {"amount": 0}}),
        ("update", {"id": f"{own}-2", "data": {"amount": 8}, "expected": {"amount": 0}}),
        ("bulk_update", {"filter": mine, "data": {"name": "same"}}),
        ("bulk_update", {"data": [{"id": f"{own}-3", "amount": 3}]}),
        ("bulk_update", {"filter": {}, "data": {"name": "all"}}),
        (
            "bulk_upsert",
            {"data": [{"id": f"{own}-4", "name": "u"}, {"id": f"{own}-5", "name": "v"}]},
        ),
        ("list", {"filter": mine, "sort": ["-amount"], "fields": ["id", "name"], "limit": 3}),
        ("list", {"filter": {"nope": 1}}),
        ("list", {"filter": mine, "include_total": True, "fields": ["id"], "limit": 1}),
        ("aggregate", {"filter": {**mine, "amount": {"$gt": 0}}, "max": ["amount"]}),
        ("aggregate", {"filter": mine, "group_by": ["name"], "sort": ["-sum.amount"]}),
        ("aggregate", {"filter": mine, "group_by": ["name"], "sum": ["amount"]}),
        ("delete", {"id": f"{own}-1"}),
        ("delete", {"id": f"{own}-1"}),
        ("bulk_delete", {"filter": mine}),
        ("aggregate", {"filter": mine}),
    ]


def neutral(result: dict[str, Any], own: str) -> Any:
    """A result without what belongs to the route and the moment."""
    text = json.dumps(result).replace(f"{own}-", "own-").replace("arguments.", "")
    found = json.loads(text)
    for name in ("created_at", "updated_at", "request_id", "next_cursor"):
        found.pop(name, None)
    return found


async def run(server: ProductionMCPServer, route: Route, own: str) -> list[Any]:
    found = []
    for operation, arguments in steps(own):
        surface, name, given = route(operation, arguments)
        call = server.service.call(ANONYMOUS, name, given, request_id="r", surface=surface)
        try:
            result = await run_on(server.mcp_server.loop, call)
        except ServerError as error:
            result = error.to_dict("r")
        found.append((operation, neutral(result, own)))
    return found


async def test_results_and_errors_are_the_same_through_every_surface(
    server: ProductionMCPServer,
) -> None:
    expected = await run(server, directly, "a")

    nothing = {"groups": [{"by": {}, "count": 0}], "count": 1, "more": False}
    assert expected[-1] == ("aggregate", nothing)
    assert [each for _, each in expected if "code" in each]
    for position, route in enumerate((among_models, by_shortcut, by_name, by_search)):
        assert await run(server, route, "bcde"[position]) == expected


def listed(url: str, key: str | None = None) -> list[str]:
    headers = {"x-api-key": key} if key else {}
    with ModernHttp(url, headers) as client:
        return [each["name"] for each in client.request("tools/list")["result"]["tools"]]


def test_the_address_and_then_the_credential_and_then_the_setting_choose_the_list(
    guarded: ProductionMCPServer,
) -> None:
    url = str(guarded.mcp_url)
    searching = ["search_tools", "describe_tool", "call_tool"]
    reading = ["Item_read", "Item_list", "get_dataflow_models_info", "get_available_tools"]

    assert listed(url, "plain") == searching
    assert listed(url, "reader") == reading
    assert listed(f"{url}/full", "reader") == reading
    assert listed(f"{url}/search", "reader") == searching
    assert len(listed(url, "compact")) == 12
    assert len(listed(f"{url}/models/Shelf", "plain")) == 34
    assert len(listed(f"{url}/full", "compact")) == 43


def test_a_call_over_mcp_is_of_the_surface_in_the_address(guarded: ProductionMCPServer) -> None:
    find = {"name": "find_records", "arguments": {"model": "Item"}}
    with ModernHttp(f"{guarded.mcp_url}/compact", {"x-api-key": "plain"}) as client:
        found = client.request("tools/call", **find)["result"]
        wrong = client.request("tools/call", name="find_records", arguments={"model": "Itm"})
        hidden = client.request("tools/call", name="Item_list", arguments={})
    with ModernHttp(str(guarded.mcp_url), {"x-api-key": "reader"}) as client:
        other = client.request("tools/call", **find)

    assert found["structuredContent"]["records"] == []
    assert wrong["result"]["structuredContent"]["error"]["field"] == "model"
    assert "call it with call_tool" in hidden["error"]["message"]
    assert "error" in other


async def test_programs_have_all_tools_whatever_the_setting(guarded: ProductionMCPServer) -> None:
    assert (await guarded.mcp_server.call_tool("Item_list"))["count"] == 0
