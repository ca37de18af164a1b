from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import AccessRule
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.models_info import MAX_MODELS, NAME, models_info_tool
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from tests.json_schema import check_schema
from tests.unit.tools.conftest import Reference

KEY = Field("id", FieldType(Kind.TEXT), "Key.", required=False)
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "Owner.", required=True, read_only=True)
NOTE = Model(
    "Note",
    "notes",
    "A note.",
    (
        KEY,
        Field("title", FieldType(Kind.TEXT), "Title.", required=True),
        Field(
            "prices",
            FieldType(Kind.ARRAY, nullable=True, item=FieldType(Kind.DECIMAL)),
            "Prices.",
            required=False,
        ),
        Field("created_at", FieldType(Kind.DATETIME), "When.", required=False, read_only=True),
    ),
    unique_keys=(("id",), ("title",)),
    unique_indexes={"uq_notes": ("tenant_id", "title")},
    indexes={
        "uq_notes": ("tenant_id", "title"),
        "ix_created": ("created_at",),
        "ix_owner": ("tenant_id",),
    },
    soft_delete=True,
    tenant=TENANT,
    other_options=("audit_log",),
)
PLAIN = Model("Plain", "plains", "Plain.", (KEY,), unique_keys=(("id",),))
ALL = Principal("p", frozenset({"*"}))


def execution_of(name: str) -> Execution:
    return Execution("nodes", "It uses audit_log.") if name == "Note" else Execution("sql", "Fast.")


@pytest.fixture
def store(reference: Reference) -> RecordStore:
    return reference.store


def info_tool(store: RecordStore, models: Iterable[Model]) -> ToolSpec:
    """The tool over these models, with their reading tools and itself registered."""
    served = list(models)
    registry = ToolRegistry()
    discovery = DataFlowToolDiscovery(store, (Operation.READ, Operation.CREATE))
    tool = models_info_tool(registry, Policy(), lambda: served, execution_of)
    registry.add([*(each for model in served for each in discovery.tools_of(model)), tool])
    return tool


async def call(tool: ToolSpec, principal: Principal = ALL, **arguments: Any) -> dict[str, Any]:
    """A result, which must fit the schema."""
    result = await tool.handler(ToolCall(principal, arguments, "r"))
    Draft202012Validator(tool.output_schema).validate(result)
    return result


async def test_models_are_listed_without_their_fields(store: RecordStore) -> None:
    assert await call(info_tool(store, [NOTE, PLAIN])) == {
        "models": [
            {
                "name": "Note",
                "table": "notes",
                "description": "A note.",
                "field_count": 4,
                "unique_keys": [["id"], ["title"]],
                "options": ["soft_delete", "multi_tenant", "indexes", "audit_log"],
                "tools": ["Note_create", "Note_read"],
                "execution": {"store": "nodes", "reason": "It uses audit_log."},
            },
            {
                "name": "Plain",
                "table": "plains",
                "description": "Plain.",
                "field_count": 1,
                "unique_keys": [["id"]],
                "options": [],
                "tools": ["Plain_create", "Plain_read"],
                "execution": {"store": "sql", "reason": "Fast."},
            },
        ],
        "count": 2,
    }


async def test_why_a_model_is_served_by_nodes_names_no_hidden_field(store: RecordStore) -> None:
    hiding = Policy(rules={"Note": AccessRule(hide=frozenset({"prices"}))})
    by_nodes = Execution("nodes", "The column of prices is of another type.")
    told = []
    for policy in (Policy(), hiding):
        registry = ToolRegistry()
        tool = models_info_tool(registry, policy, lambda: [NOTE], lambda _: by_nodes)
        discovery = DataFlowToolDiscovery(store, (Operation.READ, Operation.CREATE))
        tools = ModelFamily(NOTE, discovery.tools_of).adopt(discovery.tools_of(NOTE))
        registry.add([*tools, tool])
        [note] = (await call(tool))["models"]
        told.append(note["execution"]["reason"])

    assert "prices" in told[0]
    assert "prices" not in told[1]


async def test_one_model_is_described_in_full_without_hidden_columns(store: RecordStore) -> None:
    result = await call(info_tool(store, [PLAIN, NOTE]), model="Note")

    [note] = result["models"]
    assert result["count"] == 1
    assert note["tools"] == ["Note_create", "Note_read"]
    assert note["fields"] == [
        {
            "name": name,
            "type": kind,
            "required": required,
            "read_only": read_only,
            "nullable": nullable,
            "description": description,
        }
        for name, kind, required, read_only, nullable, description in [
            ("id", "text", False, False, False, KEY.description),
            ("title", "text", True, False, False, "Title."),
            ("prices", "array of decimal", False, False, True, "Prices."),
            ("created_at", "datetime", False, True, False, "When."),
        ]
    ]
    assert note["indexes"] == [
        {"name": "uq_notes", "fields": ["title"], "unique": True},
        {"name": "ix_created", "fields": ["created_at"], "unique": False},
    ]
    assert "tenant_id" not in json.dumps(result)


async def test_only_what_the_caller_may_call_is_told(store: RecordStore) -> None:
    tool = info_tool(store, [NOTE, PLAIN])
    reader = Principal("reader", frozenset({"Plain:read"}))

    seen = await call(tool, reader)

    assert [(each["name"], each["tools"]) for each in seen["models"]] == [
        ("Plain", ["Plain_read"]),
    ]
    with pytest.raises(NotFoundError) as hidden:
        await call(tool, reader, model="Note")
    with pytest.raises(NotFoundError) as unknown:
        await call(tool, reader, model="Nope")
    assert hidden.value.message.replace("Note", "Nope") == unknown.value.message
    assert await call(tool, Principal("nobody", frozenset())) == {"models": [], "count": 0}


async def test_models_that_come_later_are_told_too(store: RecordStore) -> None:
    models = [PLAIN]
    registry = ToolRegistry()
    discovery = DataFlowToolDiscovery(store)
    tool = models_info_tool(registry, Policy(), lambda: models, execution_of)
    registry.add(discovery.tools_of(PLAIN))

    before = await call(tool)
    models.append(NOTE)
    registry.add(discovery.tools_of(NOTE))

    assert (before["count"], (await call(tool))["count"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [({"models": "Note"}, "models"), ({"model": 7}, "model"), ({"model": "x" * 256}, "model")],
)
async def test_wrong_arguments_are_refused(
    store: RecordStore, arguments: dict[str, Any], where: str
) -> None:
    tool = info_tool(store, [PLAIN])

    with pytest.raises(InvalidArgumentsError) as caught:
        await call(tool, **arguments)

    assert caught.value.field == where
    assert not Draft202012Validator(tool.input_schema).is_valid(arguments)


async def test_the_list_is_bounded(store: RecordStore) -> None:
    many = [replace(PLAIN, name=f"Plain{at}") for at in range(MAX_MODELS + 5)]

    result = await call(info_tool(store, many))

    assert (len(result["models"]), result["count"]) == (MAX_MODELS, MAX_MODELS + 5)


async def test_the_reference_models_are_told_briefly(reference: Reference) -> None:
    registry = reference.registry()
    tool = models_info_tool(registry, Policy(), lambda: reference.models, execution_of)

    result = await call(tool)

    assert result["count"] == 13
    assert sum(len(each["tools"]) for each in result["models"]) == 117
    assert len(json.dumps(result)) < 13_000


def test_the_tool_is_there_for_every_caller_and_only_reads(store: RecordStore) -> None:
    tool = info_tool(store, [PLAIN])

    assert (tool.name, tool.group, tool.permissions) == (NAME, "monitor", ())
    assert Policy().allows(Principal("nobody", frozenset()), tool)
    for schema in (tool.input_schema, tool.output_schema):
        check_schema(schema)
    assert tool.to_mcp(complete=True)["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }
