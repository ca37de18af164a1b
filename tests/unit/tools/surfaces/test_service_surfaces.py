"""Surfaces as `ToolService` offers them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.auth.rules import AccessRule
from kailash_mcp_prod.errors import (
    ConflictError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnknownToolError,
)
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from tests.unit.tools.conftest import Reference
from tests.unit.tools.sample_tools import names_in, service_of, tool

READER = Principal("reader", frozenset({"Company:read", "Quote:list"}))


async def call(
    service: ToolService,
    name: str,
    arguments: dict[str, Any],
    surface: str | None,
    principal: Principal = ANONYMOUS,
) -> dict[str, Any]:
    return await service.call(principal, name, arguments, request_id="r1", surface=surface)


@pytest.fixture(scope="module")
def service(reference: Reference) -> ToolService:
    return reference.service()


def test_the_surface_is_the_request_s_else_the_credential_s_else_the_server_s() -> None:
    searching = Principal("s", frozenset(), surface="search")
    lost = Principal("l", frozenset(), surface="nonsense")
    service = ToolService(
        service_of().registry,
        *service_parts(),
        timeout_seconds=1,
        surface="compact",
    )

    assert service.surface_for(searching, "full") == "full"
    assert service.surface_for(searching) == "search"
    assert service.surface_for(lost) == "compact"
    assert service.surface_for(ANONYMOUS) == "compact"


def service_parts() -> tuple[Any, Any, Any, Any]:
    from kailash_mcp_prod.guard.breakers import Breakers
    from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
    from kailash_mcp_prod.guard.rates import RateLimit

    return Policy(), RateLimit(100), ConcurrencyLimit(10), Breakers(5, 30)


@pytest.mark.parametrize("name", ["", "tiny", "models/", "FULL"])
async def test_a_surface_that_does_not_exist_is_not_found(service: ToolService, name: str) -> None:
    with pytest.raises(NotFoundError):
        service.check_surface(ANONYMOUS, name)
    for ask in (service.surface_for, service.encoded_list):
        with pytest.raises(NotFoundError, match="Use full, compact, search"):
            ask(ANONYMOUS, name)
    with pytest.raises(NotFoundError):
        await call(service, "Company_list", {}, name)


def test_a_surface_of_models_has_their_tools_and_those_of_none(service: ToolService) -> None:
    names = names_in(service.encoded_list(ANONYMOUS, "models/Quote,Company").body)

    assert len(names) == 19
    assert {each.partition("_")[0] for each in names} == {"Company", "Quote", "get"}
    assert names == [
        each for each in names_in(service.encoded_list(ANONYMOUS).body) if each in names
    ]


def test_a_surface_of_models_shows_nothing_that_the_policy_hides(service: ToolService) -> None:
    assert names_in(service.encoded_list(READER, "models/Company,Quote").body) == [
        "Company_read",
        "Company_list",
        "Quote_list",
        "get_dataflow_models_info",
    ]


def test_a_model_that_does_not_exist_is_told_with_those_that_do(service: ToolService) -> None:
    for ask in (service.check_surface, service.surface_for, service.encoded_list):
        with pytest.raises(NotFoundError) as refused:
            ask(ANONYMOUS, "models/Company,Typo")
        assert refused.value.details is not None
        assert refused.value.details["surfaces"] == ["full", "compact", "search"]
        assert {"Company", "Quote"} < set(refused.value.details["models"])


def test_a_hidden_model_is_told_of_as_one_that_does_not_exist(service: ToolService) -> None:
    told = []
    for name in ("User", "Usex"):
        with pytest.raises(NotFoundError) as refused:
            service.check_surface(READER, f"models/{name}")
        assert refused.value.details == {
            "surfaces": ["full", "compact", "search"],
            "models": ["Company", "Quote"],
        }
        told.append(refused.value.message.replace(name, ""))

    assert told[0] == told[1]


async def test_a_credential_may_name_models_that_are_not_there_yet() -> None:
    early = Principal("early", frozenset({"*"}), surface="models/Later")
    service = service_of(tool("a"))

    assert service.surface_for(early) == "models/Later"
    assert names_in(service.encoded_list(early).body) == ["a"]


def test_header_arguments_of_a_hidden_tool_are_not_told() -> None:
    schema = {"type": "object", "properties": {"region": {"x-mcp-header": "Region"}}}
    hidden = replace(tool("a"), input_schema=schema, permissions=("Secret:read",))
    service = service_of(hidden)

    assert service.header_arguments(ANONYMOUS, "a") == {"region": ("region",)}
    assert service.header_arguments(READER, "a") == {}


def test_header_arguments_of_a_hidden_field_are_not_told() -> None:
    names = ("id", "title", "margin")
    fields = tuple(Field(name, FieldType(Kind.TEXT), "A field.", required=False) for name in names)
    note = Model("Note", "notes", "A note.", fields)

    def make(view: Model) -> list[ToolSpec]:
        marked = {each.name: {"x-mcp-header": each.name} for each in view.fields}
        return [replace(tool("Note_read"), input_schema={"properties": marked})]

    registry = ToolRegistry()
    registry.add(ModelFamily(note, make).adopt(make(note)))
    hiding = AccessRule(hide=frozenset({"margin"}), except_roles=frozenset({"boss"}))
    service = ToolService(
        registry, Policy(rules={"Note": hiding}), *service_parts()[1:], timeout_seconds=1
    )
    boss = Principal("boss", frozenset({"*"}), roles=frozenset({"boss"}))

    assert service.header_arguments(boss, "Note_read").keys() == {*names}
    assert service.header_arguments(ANONYMOUS, "Note_read").keys() == {"id", "title"}


async def test_what_is_no_call_is_counted_like_one() -> None:
    service = service_of(tool("a"), per_minute=2)
    await service.charge(ANONYMOUS)
    await call(service, "a", {}, None, ANONYMOUS)

    with pytest.raises(RateLimitedError):
        await service.charge(ANONYMOUS)
    with pytest.raises(RateLimitedError):
        await call(service, "a", {}, None, ANONYMOUS)


async def test_a_tool_that_a_surface_does_not_list_can_t_be_called_on_it(
    service: ToolService,
) -> None:
    for surface in ("compact", "search"):
        with pytest.raises(UnknownToolError, match="call it with call_tool"):
            await call(service, "Company_list", {}, surface)
    with pytest.raises(UnknownToolError, match="List the tools"):
        await call(service, "Company_list", {}, "models/Quote")
    with pytest.raises(UnknownToolError):
        await call(service, "find_records", {"model": "Company"}, "full")


async def test_the_hint_at_call_tool_tells_nothing_of_hidden_tools(service: ToolService) -> None:
    with pytest.raises(UnknownToolError) as hidden:
        await call(service, "User_delete", {}, "compact", READER)
    with pytest.raises(UnknownToolError) as unknown:
        await call(service, "User_dilute", {}, "compact", READER)

    assert hidden.value.message == unknown.value.message.replace("dilute", "delete")


@pytest.mark.parametrize("surface", ["full", "compact", "search", "models/Company"])
def test_a_list_is_encoded_once_and_never_changed_by_a_call(
    service: ToolService, surface: str
) -> None:
    same = Principal("other", frozenset({"*"}), method="jwt")
    before = service.encoded_list(ANONYMOUS, surface)

    service.encoded_list(READER, "compact")

    assert service.encoded_list(same, surface) is before


async def test_lists_follow_the_registry(reference: Reference) -> None:
    service = reference.service()
    surfaces = ("full", "compact", "models/Company,Quote")
    before = {name: service.encoded_list(ANONYMOUS, name).fingerprint for name in surfaces}

    service.registry.remove_group("Company")

    with pytest.raises(NotFoundError):
        service.encoded_list(ANONYMOUS, surfaces[2])
    after = {name: service.encoded_list(ANONYMOUS, name).fingerprint for name in surfaces[:2]}
    assert all(before[name] != after[name] for name in surfaces[:2])
    compact = service.encoded_list(ANONYMOUS, "compact").body.decode()
    assert '"Company"' not in compact
    found = await call(service, "search_tools", {"query": "list the companies"}, "search")
    assert all(not each["name"].startswith("Company") for each in found["tools"])


async def test_a_call_through_a_surface_counts_once() -> None:
    service = service_of(tool("a"), per_minute=2)
    for _ in range(2):
        await call(service, "call_tool", {"name": "a"}, "search")

    with pytest.raises(RateLimitedError):
        await call(service, "call_tool", {"name": "a"}, "search")


async def test_a_call_through_a_surface_takes_one_place_and_so_can_t_block_itself() -> None:
    service = service_of(tool("a"), running=1)

    calls = [
        call(service, "call_tool", {"name": "a", "arguments": {"n": n}}, "compact") for n in (1, 2)
    ]

    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == [{"n": 1}, {"n": 2}]


async def test_an_error_names_the_place_within_call_tool() -> None:
    async def refuse(_call: ToolCall) -> dict[str, Any]:
        problems = [{"field": "data.name", "message": "taken"}, {"field": "id", "message": "odd"}]
        raise ConflictError("data.name: taken.", field="data.name", details={"problems": problems})

    service = service_of(tool("a", refuse))
    with pytest.raises(ConflictError) as refused:
        await call(service, "call_tool", {"name": "a"}, "search")

    assert refused.value.field == "arguments.data.name"
    assert refused.value.message == "arguments.data.name: taken."
    assert refused.value.details == {
        "problems": [
            {"field": "arguments.data.name", "message": "taken"},
            {"field": "arguments.id", "message": "odd"},
        ]
    }


async def test_a_wrong_name_in_call_tool_is_a_failed_call_and_not_an_unknown_tool(
    service: ToolService,
) -> None:
    for surface in ("compact", "search"):
        with pytest.raises(NotFoundError, match="Did you mean Company_list") as refused:
            await call(service, "call_tool", {"name": "Compny_list"}, surface)
        assert not isinstance(refused.value, UnknownToolError)
        assert refused.value.field == "name"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "Company_list", "argument": {}}, "argument"),
        ({"name": "Company_list", "arguments": []}, "arguments"),
        ({"name": "Company_list", "arguments": {"limit": 0}}, "arguments.limit"),
        ({"name": "Company_list", "arguments": {"nope": 0}}, "arguments.nope"),
        ({"name": "Company_list", "arguments": {"filter": {"nope": 0}}}, "arguments.filter.nope"),
    ],
)
async def test_the_arguments_of_call_tool_are_checked(
    service: ToolService, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(ServerError) as refused:
        await call(service, "call_tool", arguments, "search")

    assert refused.value.code == "invalid_arguments"
    assert refused.value.field == field


def test_a_tool_is_described_in_full_on_its_surface(service: ToolService) -> None:
    described = service.describe(ANONYMOUS, "Company_create")

    assert described["inputSchema"]["additionalProperties"] is False
    assert "outputSchema" in described
    assert service.describe(ANONYMOUS, "find_records", "compact")["name"] == "find_records"
    with pytest.raises(UnknownToolError):
        service.describe(READER, "User_list")


def test_a_list_is_the_same_in_every_order_of_questions(reference: Reference) -> None:
    one, other = reference.service(), reference.service()
    for surface in ("search", "compact", "full"):
        one.encoded_list(ANONYMOUS, surface)

    for surface in ("full", "compact", "search"):
        assert (
            one.encoded_list(ANONYMOUS, surface).body == other.encoded_list(ANONYMOUS, surface).body
        )
        assert json.loads(other.encoded_list(ANONYMOUS, surface).body)
