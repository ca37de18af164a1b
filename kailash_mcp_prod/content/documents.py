"""The texts of resources: what there is to know of the models, of a model and of the health."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kailash_mcp_prod.content.catalogue import UsableModel, UsableModels
from kailash_mcp_prod.content.uris import MODELS, RECORD_TEMPLATE, model_uri, record_uri
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.results import result_schema
from kailash_mcp_prod.records.types import Kind
from kailash_mcp_prod.tools.descriptions import example_arguments
from kailash_mcp_prod.tools.spec import ToolSpec

MIME_TYPE: Final = "application/json"
MAX_TEXT: Final = 1_048_576
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def contents(uri: str, document: dict[str, Any], *, instead: str) -> dict[str, Any]:
    """An MCP `TextResourceContents` object.

    Args:
        uri: The resource.
        document: What it holds.
        instead: What to do when it is too large for a resource, as a sentence.

    Raises:
        InvalidArgumentsError: It has more than `MAX_TEXT` characters.
    """
    text = msgspec.json.encode(document).decode()
    if len(text) > MAX_TEXT:
        raise InvalidArgumentsError(
            f"This resource has more than {MAX_TEXT:,} characters. {instead}",
            field="uri",
            details={"characters": len(text)},
        )
    return {"uri": uri, "mimeType": MIME_TYPE, "text": text}


def overview(info: dict[str, Any], models: UsableModels) -> dict[str, Any]:
    """The document of all models, from the result of `get_dataflow_models_info`."""
    readable = any(each.tool(Operation.READ) for each in models.values())
    return {
        "uri": MODELS,
        **({"record_uri": RECORD_TEMPLATE} if readable else {}),
        "count": info["count"],
        "models": [{"uri": model_uri(each["name"]), **each} for each in info["models"]],
    }


def model_document(info: dict[str, Any], usable: UsableModel) -> dict[str, Any]:
    """The document of a model, from what `get_dataflow_models_info` says of it."""
    model = usable.model
    document = {"uri": model_uri(model.name), **info, "record_schema": _record_schema(usable)}
    create = next((each for each in usable.tools if each.operation == Operation.CREATE), None)
    if create is not None:
        document["new_record_schema"] = create.input_schema.get("properties", {}).get("data", {})
    if usable.tool(Operation.READ):
        example = example_arguments(model, Operation.READ)["id"]
        document["record_uri"] = f"{model_uri(model.name)}/{{id}}"
        document["example_record_uri"] = record_uri(model.name, example)
    document["tools"] = [_tool(each, usable) for each in usable.tools]
    return document


def _record_schema(usable: UsableModel) -> dict[str, Any]:
    """The schema of a stored record; choices are examples, because other programs write too."""
    model = usable.model
    schema = result_schema(model, Operation.CREATE)
    properties = dict(schema["properties"])
    for each in model.fields:
        if each.type.kind is Kind.CHOICE:
            properties[each.name] = {
                **properties[each.name],
                "examples": [each.type.to_json(choice) for choice in each.type.choices],
            }
    return {"$schema": _DIALECT, "title": model.name, **schema, "properties": properties}


def _tool(tool: ToolSpec, usable: UsableModel) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tool.name, "title": tool.title}
    if tool.operation is None:
        return {**described, "description": tool.description}
    example = example_arguments(usable.model, Operation(tool.operation))
    return {**described, "example_arguments": example}
