from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.tools.service import ToolService
from tests.unit.tools.conftest import Reference
from tests.unit.tools.sample_tools import names_in, tool

READER = Principal("reader", frozenset({"Company:read"}))


@pytest.fixture(scope="module")
def service(reference: Reference) -> ToolService:
    return reference.service()


async def call(
    service: ToolService, name: str, principal: Principal = ANONYMOUS, /, **arguments: Any
) -> dict[str, Any]:
    return await service.call(principal, name, arguments, request_id="r", surface="search")


def test_three_tools_are_listed_for_everybody(service: ToolService) -> None:
    names = ["search_tools", "describe_tool", "call_tool"]

    assert names_in(service.encoded_list(ANONYMOUS, "search").body) == names
    assert names_in(service.encoded_list(READER, "search").body) == names


async def test_tools_are_found_with_what_they_do(service: ToolService) -> None:
    found = await call(service, "search_tools", query="which quotes are open?")

    assert found["count"] == len(found["tools"]) == 5
    assert found["tools"][0]["name"] == "Quote_list"
    assert found["tools"][0]["description"].startswith("Returns the Quote records")


async def test_as_many_are_found_as_were_asked_for(service: ToolService) -> None:
    assert (await call(service, "search_tools", query="customer", limit=2))["count"] == 2
    assert (await call(service, "search_tools", query="customer", limit=20))["count"] == 20
    assert (await call(service, "search_tools", query="xyzzy"))["tools"] == []


async def test_only_what_the_caller_may_call_is_found(service: ToolService) -> None:
    found = await call(service, "search_tools", READER, query="company customer quote", limit=20)

    assert {each["name"] for each in found["tools"]} == {
        "Company_read",
        "Company_list",
        "get_dataflow_models_info",
    } & {each["name"] for each in found["tools"]}
    assert found["tools"]


async def test_a_tool_is_described_with_its_exact_schema(
    service: ToolService, reference: Reference
) -> None:
    [one] = (await call(service, "describe_tool", name="Company_create"))["tools"]
    several = await call(service, "describe_tool", names=["Quote_list", "User_read"])

    exact = reference.registry().get("Company_create")
    assert exact is not None
    assert one["inputSchema"] == exact.input_schema
    assert "Example: " in one["description"]
    assert [each["name"] for each in several["tools"]] == ["Quote_list", "User_read"]


async def test_a_hidden_tool_is_described_in_the_words_of_an_unknown_one(
    service: ToolService,
) -> None:
    with pytest.raises(NotFoundError) as hidden:
        await call(service, "describe_tool", READER, names=["Company_read", "User_bulk_upsert"])
    with pytest.raises(NotFoundError) as unknown:
        await call(service, "describe_tool", READER, names=["Company_read", "Nope_bulk_upsert"])

    assert hidden.value.field == unknown.value.field == "names[1]"
    assert hidden.value.message.replace("User", "Nope") == unknown.value.message


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("search_tools", {}, "query"),
        ("search_tools", {"query": ""}, "query"),
        ("search_tools", {"query": 5}, "query"),
        ("search_tools", {"query": "x" * 1_001}, "query"),
        ("search_tools", {"query": "x", "limit": 0}, "limit"),
        ("search_tools", {"query": "x", "limit": 21}, "limit"),
        ("search_tools", {"query": "x", "nope": 1}, "nope"),
        ("describe_tool", {}, "name"),
        ("describe_tool", {"name": "a", "names": ["b"]}, "name"),
        ("describe_tool", {"names": []}, "names"),
        ("describe_tool", {"names": ["x"] * 11}, "names"),
        ("describe_tool", {"name": None}, "name"),
    ],
)
async def test_arguments_are_checked(
    service: ToolService, name: str, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        await call(service, name, **arguments)

    assert refused.value.field == field


async def test_a_new_tool_is_found_at_once_even_while_the_index_is_made(
    reference: Reference,
) -> None:
    service = reference.service()
    searching = asyncio.create_task(call(service, "search_tools", query="brew coffee"))
    await asyncio.sleep(0)
    service.registry.add([tool("brew_coffee")])
    await searching

    found = await call(service, "search_tools", query="brew coffee")

    assert found["tools"][0]["name"] == "brew_coffee"
