from __future__ import annotations

import json
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError, UnknownToolError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall
from kailash_mcp_prod.tools.surfaces.base import Resolved
from kailash_mcp_prod.tools.surfaces.compact import CompactSurface
from tests.unit.tools.conftest import Reference

WRITER = Principal("writer", frozenset({"Company:bulk_create", "Quote:bulk_delete"}))


@pytest.fixture(scope="module")
def service(reference: Reference) -> ToolService:
    return reference.service()


def listed(service: ToolService, principal: Principal = ANONYMOUS) -> dict[str, dict[str, Any]]:
    tools = json.loads(service.encoded_list(principal, "compact").body)
    return {each["name"]: each for each in tools}


def resolved(service: ToolService, name: str, /, **arguments: Any) -> Resolved:
    from kailash_mcp_prod.auth.policy import Policy

    found = CompactSurface(service.registry, Policy()).resolve(
        ToolCall(ANONYMOUS, arguments, "r"), name
    )
    assert found is not None
    return found


def test_at_most_twelve_tools_are_listed_in_a_fixed_order(service: ToolService) -> None:
    assert list(listed(service)) == [
        "describe_models",
        "find_records",
        "get_record",
        "aggregate_records",
        "create_record",
        "update_record",
        "delete_record",
        "bulk_write",
        "call_tool",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "tool"),
    [
        ("describe_models", {}, "get_dataflow_models_info"),
        ("find_records", {"model": "Quote"}, "Quote_list"),
        ("get_record", {"model": "Quote", "id": "q"}, "Quote_read"),
        ("aggregate_records", {"model": "Quote"}, "Quote_aggregate"),
        ("create_record", {"model": "User", "data": {}}, "User_create"),
        ("update_record", {"model": "User", "id": "u", "data": {}}, "User_update"),
        ("delete_record", {"model": "User", "id": "u"}, "User_delete"),
        ("bulk_write", {"model": "User", "action": "create"}, "User_bulk_create"),
        ("bulk_write", {"model": "User", "action": "update"}, "User_bulk_update"),
        ("bulk_write", {"model": "User", "action": "delete"}, "User_bulk_delete"),
        ("bulk_write", {"model": "User", "action": "upsert"}, "User_bulk_upsert"),
        ("call_tool", {"name": "Company_bulk_delete"}, "Company_bulk_delete"),
    ],
)
def test_a_tool_stands_for_one_of_a_model(
    service: ToolService, name: str, arguments: dict[str, Any], tool: str
) -> None:
    assert resolved(service, name, **arguments).tool.name == tool


def test_every_record_tool_is_reached_without_call_tool_where_it_is_on_by_default(
    service: ToolService,
) -> None:
    reached = set()
    for name, each in listed(service).items():
        properties = each["inputSchema"]["properties"]
        for model in properties["model"].get("enum", []) if "model" in properties else []:
            for action in properties.get("action", {"enum": [None]})["enum"]:
                given = {"model": model, "id": "x", "data": {}} | (
                    {"action": action} if action else {}
                )
                known = {key: given[key] for key in given if key in properties}
                reached.add(resolved(service, name, **known).tool.name)

    assert reached == {tool.name for tool in service.registry.every() if tool.operation}


def test_whoever_leaves_list_out_has_no_aggregates_but_may_turn_them_on(
    reference: Reference,
) -> None:
    assert "aggregate_records" not in listed(reference.service(Operation.READ, Operation.COUNT))
    assert "aggregate_records" in listed(reference.service(Operation.AGGREGATE))


async def test_what_is_not_listed_has_no_other_way_in(service: ToolService) -> None:
    for surface, name, arguments in (
        ("full", "Company_aggregate", {}),
        ("compact", "Company_aggregate", {}),
        ("models/Company", "Company_aggregate", {}),
    ):
        with pytest.raises(UnknownToolError):
            await service.call(ANONYMOUS, name, arguments, request_id="r", surface=surface)
    for surface in ("compact", "search"):
        with pytest.raises(NotFoundError):
            await service.call(
                ANONYMOUS,
                "call_tool",
                {"name": "Company_aggregate"},
                request_id="r",
                surface=surface,
            )


def test_aggregates_are_for_who_may_read(service: ToolService) -> None:
    reader = Principal("reader", frozenset({"Company:read", "User:aggregate", "Quote:list"}))

    tools = listed(service, reader)

    assert list(tools) == [
        *("describe_models", "find_records", "get_record", "aggregate_records", "call_tool")
    ]
    model = tools["aggregate_records"]["inputSchema"]["properties"]["model"]
    assert model == {"enum": ["Company", "User"]}


def test_the_arguments_go_on_as_they_are(service: ToolService) -> None:
    found = resolved(service, "update_record", model="User", id="u", data={"name": "N"})

    assert found.call.arguments == {"id": "u", "data": {"name": "N"}}
    assert found.call.request_id == "r"
    assert found.below is None


def test_only_what_may_be_called_is_listed(service: ToolService) -> None:
    tools = listed(service, WRITER)

    assert list(tools) == ["describe_models", "bulk_write", "call_tool"]
    properties = tools["bulk_write"]["inputSchema"]["properties"]
    assert properties["model"] == {"enum": ["Company", "Quote"]}
    assert properties["action"] == {"enum": ["create", "delete"]}


@pytest.mark.parametrize(
    ("name", "arguments", "field", "said"),
    [
        ("find_records", {}, "model", "Company, "),
        ("find_records", {"model": "Nope"}, "model", "Company, "),
        ("find_records", {"model": ["Company"]}, "model", "Company, "),
        ("find_records", {"model": "Company", "nope": 1}, "nope", "unknown argument"),
        ("find_records", {"model": "Company", "limit": 0}, "limit", "must be"),
        ("find_records", {"model": "Company", "filter": {"nope": 1}}, "filter.nope", "no field"),
        ("get_record", {"model": "Company"}, "id", "required"),
        ("get_record", {"model": "Company", "id": 5}, "id", "use text"),
        ("create_record", {"model": "Company"}, "data", "required"),
        ("create_record", {"model": "Company", "data": {}}, "data.name", "required"),
        ("aggregate_records", {"model": "Company", "offset": 5}, "offset", "unknown argument"),
        ("aggregate_records", {"model": "Company", "limit": 0}, "limit", "must be"),
        ("aggregate_records", {"model": "Company", "group_by": ["x"]}, "group_by[0]", "id"),
        ("aggregate_records", {"model": "Company", "sort": ["-x"]}, "sort[0]", "count"),
        ("bulk_write", {"model": "Company"}, "action", "create, update"),
        ("bulk_write", {"model": "Company", "action": "drop"}, "action", "create, update"),
        ("bulk_write", {"model": "Company", "action": "delete", "data": []}, "ids", "required"),
        (
            "bulk_write",
            {"model": "Company", "action": "create", "data": [{"name": "A"}, {"name": 5}]},
            "data[1].name",
            "use text",
        ),
    ],
)
async def test_an_error_names_the_argument_of_the_compact_tool(
    service: ToolService, name: str, arguments: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        await service.call(ANONYMOUS, name, arguments, request_id="r", surface="compact")

    assert refused.value.field == field
    assert said in refused.value.message


async def test_a_hidden_model_is_refused_in_the_words_of_an_unknown_one(
    service: ToolService,
) -> None:
    messages = set()
    for model in ("User", "Nothing"):
        with pytest.raises(InvalidArgumentsError) as refused:
            await service.call(
                WRITER,
                "bulk_write",
                {"model": model, "action": "create"},
                request_id="r",
                surface="compact",
            )
        messages.add(refused.value.message)
    with pytest.raises(InvalidArgumentsError, match="action: use one of: create"):
        await service.call(
            WRITER,
            "bulk_write",
            {"model": "Company", "action": "delete"},
            request_id="r",
            surface="compact",
        )

    assert messages == {"model: use one of: Company, Quote."}


async def test_a_tool_without_a_model_for_the_caller_does_not_exist(service: ToolService) -> None:
    with pytest.raises(UnknownToolError):
        await service.call(
            WRITER, "find_records", {"model": "Company"}, request_id="r", surface="compact"
        )


def test_hints_are_the_worst_of_what_a_tool_may_do(service: ToolService) -> None:
    hints = {name: each["annotations"] for name, each in listed(service).items()}

    for name in ("describe_models", "find_records", "get_record", "aggregate_records"):
        assert hints[name]["readOnlyHint"]
        assert "destructiveHint" not in hints[name]
    for name in ("update_record", "delete_record", "bulk_write", "call_tool"):
        assert hints[name]["destructiveHint"]
    assert not hints["create_record"]["destructiveHint"]
    assert "idempotentHint" not in hints["bulk_write"]
