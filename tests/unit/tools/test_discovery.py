from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import DEFAULT_OPERATIONS, Operation
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from tests.json_schema import check_schema
from tests.unit.records.sqlite_store import running_store
from tests.unit.tools.conftest import Reference

ALL = tuple(Operation)
DESTRUCTIVE = {"update", "delete", "bulk_update", "bulk_delete", "bulk_upsert", "upsert"}


@pytest.fixture(scope="module")
def registry(reference: Reference) -> ToolRegistry:
    return reference.registry()


@pytest.fixture(scope="module")
def full_registry(reference: Reference) -> ToolRegistry:
    return reference.registry(*ALL)


def operation_of(tool: ToolSpec) -> str:
    return tool.name.removeprefix(f"{tool.group}_")


def test_thirteen_models_make_117_tools(registry: ToolRegistry, reference: Reference) -> None:
    assert len(registry) == 117
    assert [each.name for each in registry] == [
        f"{model.name}_{operation}" for model in reference.models for operation in ALL[:9]
    ]


def test_upsert_count_and_aggregate_make_156(full_registry: ToolRegistry) -> None:
    assert len(full_registry) == 156
    assert sum(each.name.endswith("_count") for each in full_registry) == 13


def test_operations_are_made_in_their_own_order_whatever_order_they_are_asked_in(
    reference: Reference,
) -> None:
    found = reference.registry(Operation.COUNT, Operation.READ, Operation.READ)

    assert [each.name for each in found][:2] == ["Company_read", "Company_count"]
    assert len(found) == 26


def test_an_append_only_model_is_neither_changed_nor_deleted(reference: Reference) -> None:
    ledger = replace(reference.models[0], name="Ledger", append_only=True)

    tools = DataFlowToolDiscovery(reference.store, ALL).tools_of(ledger)

    assert [operation_of(each) for each in tools] == [
        *("create", "read", "list", "bulk_create", "count", "aggregate")
    ]


def test_names_suit_every_client(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,48}", each.name)


def test_a_tool_asks_for_the_permission_of_its_operation(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        assert each.permissions == (f"{each.group}:{operation_of(each)}",)


def test_a_reader_of_one_model_sees_its_reading_tools(full_registry: ToolRegistry) -> None:
    reader = Principal("reader", frozenset({"Company:read"}))

    seen = [each.name for each in full_registry if Policy().allows(reader, each)]

    assert seen == [*("Company_read", "Company_list", "Company_count", "Company_aggregate")]


def test_all_annotations_are_sent_and_true(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        operation = operation_of(each)
        reads = operation in {"read", "list", "count", "aggregate"}
        assert each.to_mcp(complete=True)["annotations"] == {
            "readOnlyHint": reads,
            "destructiveHint": operation in DESTRUCTIVE,
            "idempotentHint": reads or operation in DESTRUCTIVE,
            "openWorldHint": False,
        }
        short = each.to_mcp(complete=False)["annotations"]
        assert short == {
            "readOnlyHint": reads,
            **({} if reads else {"destructiveHint": operation in DESTRUCTIVE}),
            **({} if reads or operation not in DESTRUCTIVE else {"idempotentHint": True}),
            "openWorldHint": False,
        }


def test_schemas_are_valid_json_schema_2020_12(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        for schema in (each.input_schema, each.output_schema):
            check_schema(schema)
            assert schema["type"] == "object"


def objects_of_data(tool: ToolSpec) -> list[dict[str, Any]]:
    """The schemas of the records in `data`, in whichever form the tool takes them."""
    data = tool.input_schema["properties"].get("data")
    forms = [] if data is None else data.get("anyOf", [data])
    return [form.get("items", form) for form in forms]


def test_unknown_arguments_are_refused_at_the_root_and_in_data(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        assert each.input_schema["additionalProperties"] is False, each.name
        for data in objects_of_data(each):
            # One form names its fields in full; where there is a second, it says so in words.
            assert data.get("additionalProperties") is False or "properties" not in data, each.name


def undescribed(schema: Any, path: str) -> list[str]:
    """The paths of all properties without a description, at every depth."""
    if isinstance(schema, list):
        return [each for item in schema for each in undescribed(item, path)]
    if not isinstance(schema, dict):
        return []
    missing = []
    for name, each in schema.get("properties", {}).items():
        forms = [each] if "description" in each else each.get("anyOf", [each])
        if not all(form.get("description", "").strip() for form in forms):
            missing.append(f"{path}.{name}")
        missing += undescribed(each, f"{path}.{name}")
    for keyword in ("items", "anyOf", "additionalProperties"):
        missing += undescribed(schema.get(keyword), path)
    return missing


def test_every_property_at_every_depth_is_described(full_registry: ToolRegistry) -> None:
    assert [
        path for each in full_registry for path in undescribed(each.input_schema, each.name)
    ] == []


def test_schemas_need_no_references(full_registry: ToolRegistry) -> None:
    for each in full_registry:
        assert "$ref" not in str(each.input_schema), each.name


@pytest.mark.parametrize("operation", DEFAULT_OPERATIONS)
async def test_a_handler_refuses_what_the_schema_refuses(
    registry: ToolRegistry, operation: Operation
) -> None:
    tool = registry.get(f"Quote_{operation}")
    assert tool is not None
    validator = Draft202012Validator(tool.input_schema)
    for arguments in ({"surprise": 1}, {"id": 7, "data": 7, "ids": 7, "filter": 7, "limit": "x"}):
        assert not validator.is_valid(arguments)
        with pytest.raises(InvalidArgumentsError):
            await tool.handler(ToolCall(Principal("p", frozenset()), arguments, "r"))


KEY = Field("id", FieldType(Kind.TEXT), "Key.", required=False)
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "Owner.", required=True, read_only=True)
STAMPS = [
    Field(name, FieldType(Kind.DATETIME, nullable=True), "When.", False, read_only=True)
    for name in ("created_at", "updated_at")
]
TITLE = Field("title", FieldType(Kind.TEXT), "Title.", required=True)
OWNED = Model("Note", "notes", "", (KEY, TITLE, *STAMPS), (("id",),), tenant=TENANT)


@pytest.fixture
async def owned_store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    """The records of a model that keeps its tenants apart."""
    async with running_store(tmp_path / "notes.db", OWNED) as store:
        yield store


def owned_tools(store: RecordStore, cursors: CursorSigner | None = None) -> dict[str, ToolSpec]:
    discovery = DataFlowToolDiscovery(store, ALL, cursors)
    return {operation_of(each): each for each in discovery.tools_of(OWNED)}


async def call(tool: ToolSpec, tenant: str | None, **arguments: Any) -> dict[str, Any]:
    principal = Principal("p", frozenset({"*"}), tenant=tenant)
    return await tool.handler(ToolCall(principal, arguments, "r"))


async def test_a_call_reaches_the_records_of_its_tenant_only(owned_store: RecordStore) -> None:
    tools = owned_tools(owned_store)
    for tenant in ("a", "b"):
        for at in range(3):
            await call(tools["create"], tenant, data={"id": f"{tenant}{at}", "title": "t"})

    page = await call(tools["list"], "a", limit=2, fields=["id"], include_total=True)

    assert page["records"] == [{"id": "a0"}, {"id": "a1"}]
    assert page["total"] == 3
    with pytest.raises(NotFoundError):
        await call(tools["read"], "b", id="a0")
    with pytest.raises(InvalidArgumentsError):
        await call(tools["list"], "b", cursor=page["next_cursor"])


@pytest.mark.parametrize("operation", Operation)
async def test_a_call_without_a_tenant_is_forbidden(
    owned_store: RecordStore, operation: Operation
) -> None:
    with pytest.raises(ForbiddenError):
        await call(owned_tools(owned_store)[operation], None)


async def test_servers_with_the_same_secret_take_each_others_cursors(
    owned_store: RecordStore,
) -> None:
    ours, other, stranger = (
        owned_tools(owned_store, CursorSigner(secret)) for secret in (b"x" * 32, b"x" * 32, None)
    )
    for at in range(2):
        await call(ours["create"], "a", data={"id": f"n{at}", "title": "t"})
    cursor = (await call(ours["list"], "a", limit=1))["next_cursor"]

    following = await call(other["list"], "a", cursor=cursor, fields=["id"])
    assert following["records"] == [{"id": "n1"}]
    with pytest.raises(InvalidArgumentsError):
        await call(stranger["list"], "a", cursor=cursor)


def test_a_subclass_may_leave_out_and_rename_tools(reference: Reference) -> None:
    class Readers(DataFlowToolDiscovery):
        """Only what reads, under other names."""

        def tools_of(self, model: Model) -> list[ToolSpec]:
            return [
                replace(each, name=f"my_{each.name}")
                for each in super().tools_of(model)
                if each.hints.read_only
            ]

    tools = Readers(reference.store).tools_of(reference.models[0])

    assert [each.name for each in tools if each.listed] == ["my_Company_read", "my_Company_list"]
    assert [each.name for each in tools if not each.listed] == ["my_Company_aggregate"]


def test_records_are_aggregated_unlisted_where_they_can_be_listed(reference: Reference) -> None:
    default = reference.registry()
    unlisted = [each.name for each in default.every() if not each.listed]

    assert unlisted == [f"{model.name}_aggregate" for model in reference.models]
    assert default.get("Company_aggregate") is None
    without_list = reference.registry(Operation.READ, Operation.COUNT)
    assert all(each.listed for each in without_list.every())
    turned_on = reference.registry(Operation.AGGREGATE)
    assert [each.name for each in turned_on.every()][:2] == [
        *("Company_aggregate", "User_aggregate")
    ]
    assert turned_on.get("Company_aggregate") is not None
