"""The tool `get_dataflow_models_info`: which models there are, what they hold and how they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NotRequired

from annotated_types import MaxLen
from pydantic import ConfigDict, Field, Strict
from typing_extensions import TypedDict

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.records import model as records
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.forms import Form, FormError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.problems import describe_findings, shown
from kailash_mcp_prod.records.types import FieldType
from kailash_mcp_prod.records.views import names_hidden
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from kailash_mcp_prod.tools.visibility import Visibility

NAME = "get_dataflow_models_info"
MAX_MODELS = 200

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}


class _Arguments(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    model: NotRequired[
        Annotated[str, Strict(), MaxLen(255), Field(description="Only this model, in full.")]
    ]


def models_info_tool(
    registry: ToolRegistry,
    policy: Policy,
    models: Callable[[], Iterable[Model]],
    execution_of: Callable[[str], Execution],
) -> ToolSpec:
    """The tool over the models that are served at the time of a call.

    Args:
        registry: Says which tools a model has, by their group.
        policy: Says which of them a principal may call; models without any are left out.
        models: The models that are served.
        execution_of: How the model of that name is reached.
    """
    form = Form(_Arguments)

    visibility = Visibility(policy)

    async def handle(call: ToolCall) -> dict[str, Any]:
        try:
            wanted = form.check(call.arguments).get("model")
        except FormError as error:
            raise describe_findings(error.found, known=["model"]) from None
        tools = _tools_by_group(registry, visibility, call.principal)
        seen = [
            visibility.model(call.principal, model) for model in models() if model.name in tools
        ]
        if wanted is not None:
            seen = [model for model in seen if model.name == wanted]
            if not seen:
                raise NotFoundError(
                    f"There is no model '{shown(wanted)}' that you may use. Leave model out to "
                    "see those that you may.",
                    field="model",
                )
        described = []
        for model in seen[:MAX_MODELS]:
            info = _overview(model, execution_of(model.name), tools[model.name])
            described.append(info if wanted is None else info | _details(model))
        return {"models": described, "count": len(seen)}

    return ToolSpec(
        name=NAME,
        title="Describe the models",
        description=(
            "Lists the models (kinds of records) of the database that you may use: their tools, "
            "unique keys, options and how they are stored. Give model for the schema of one: "
            "its fields and indexes."
        ),
        input_schema=form.schema(),
        output_schema=_OUTPUT,
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=(),
        group="monitor",
        handler=handle,
    )


def _tools_by_group(
    registry: ToolRegistry, visibility: Visibility, principal: Principal
) -> dict[str, list[str]]:
    tools: dict[str, list[str]] = {}
    for tool in registry.every():
        if tool.permissions and visibility.tool(principal, tool) is not None:
            names = tools.setdefault(tool.group, [])
            if tool.listed:
                names.append(tool.name)
    return tools


def _overview(model: Model, execution: Execution, tools: list[str]) -> dict[str, Any]:
    options = {
        "soft_delete": model.soft_delete,
        "multi_tenant": model.tenant is not None,
        "append_only": model.append_only,
        "indexes": bool(model.indexes),
    }
    reason = execution.reason
    if names_hidden(model, reason):
        reason = "A field asks for it."
    return {
        "name": model.name,
        "table": model.table,
        "description": model.description,
        "field_count": len(model.fields),
        "unique_keys": [list(key) for key in model.unique_keys],
        "options": [*(name for name, on in options.items() if on), *model.other_options],
        "tools": tools,
        "execution": {"store": execution.store, "reason": reason},
    }


def _details(model: Model) -> dict[str, Any]:
    return {
        "fields": [
            {
                "name": each.name,
                "type": _type_text(each.type),
                "required": each.required,
                "read_only": each.read_only,
                "nullable": each.type.nullable,
                "description": each.description,
                **_values_of(each),
            }
            for each in model.fields
        ],
        "indexes": [
            {"name": name, "fields": visible, "unique": name in model.unique_indexes}
            for name, columns in model.indexes.items()
            if (visible := [column for column in columns if model.field(column) is not None])
        ],
    }


def _values_of(field: records.Field) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if field.type.choices:
        found["choices"] = list(field.type.choices)
    if not (field.required or field.default is None or callable(field.default)):
        found["default"] = field.type.to_json(field.default)
    return found


def _type_text(field_type: FieldType) -> str:
    """Such as `decimal`, or `array of text` where the items have a type."""
    if field_type.item is None:
        return str(field_type.kind)
    return f"{field_type.kind} of {_type_text(field_type.item)}"


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


_MODEL = _object(
    {
        "name": _TEXT,
        "table": _TEXT,
        "description": _TEXT,
        "field_count": _COUNT,
        "unique_keys": _list(_list(_TEXT)),
        "options": _list({**_TEXT, "description": "DataFlow's options that are in force."}),
        "tools": _list({**_TEXT, "description": "The tools that you may call."}),
        "execution": _object({"store": {"enum": ["sql", "nodes"]}, "reason": _TEXT}),
        "fields": _list(
            _object(
                {
                    "name": _TEXT,
                    "type": _TEXT,
                    "required": _FLAG,
                    "read_only": _FLAG,
                    "nullable": _FLAG,
                    "description": _TEXT,
                    "choices": {"type": "array"},
                    "default": {},
                },
                "choices",
                "default",
            )
        ),
        "indexes": _list(_object({"name": _TEXT, "fields": _list(_TEXT), "unique": _FLAG})),
    },
    "fields",
    "indexes",
)
_OUTPUT = _object(
    {
        "models": {**_list(_MODEL), "maxItems": MAX_MODELS},
        "count": {**_COUNT, "description": f"How many there are; {MAX_MODELS} are listed at most."},
    }
)
