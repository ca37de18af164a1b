"""The short schemas of tool lists: what an agent needs to fill in arguments, and no more.

A list of all tools has each field of a model several times. So a field is described where records
are created, and has only its type elsewhere. A short schema accepts whatever the full one accepts;
what it leaves out, validation still asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kailash_mcp_prod.records.aggregates import DEFAULT_GROUPS, MAX_GROUPS
from kailash_mcp_prod.records.arguments import DEFAULT_LIMIT, MAX_LIMIT
from kailash_mcp_prod.records.filters import COMBINATORS, OPERATORS
from kailash_mcp_prod.records.operations import Operation

Schema = dict[str, Any]

_SAID_OF_A_FIELD = ("type", "enum", "const", "format", "default", "description")
_SAID_OF_NAMES = ("enum", "const")
_SAID_AGAIN = ("type",)
_KEY_IS_MADE = " Made by the server when absent."

_FILTER = (
    f"{{field: value}} or {{field: {{operator: value}}}}: {' '.join(OPERATORS)} "
    f"{' '.join(COMBINATORS)}"
)
_GROUP_SORT = "-count, -sum.total, or a field of group_by"
_SAME_FILTER = "As of the list tool"
_SAME_ROWS = {
    Operation.BULK_UPDATE: "id, and data as of the update tool",
    Operation.BULK_UPSERT: "As of the bulk_create tool",
}
_OPTIONS: Mapping[str, Schema] = {
    "fields": {"type": "array", "items": {"type": "string"}},
    "sort": {"type": "array", "items": {"type": "string"}, "description": "-field descends"},
    "limit": {"type": "integer", "description": f"{DEFAULT_LIMIT}, at most {MAX_LIMIT}"},
    "cursor": {"type": "string", "description": "next_cursor of the page before"},
    "offset": {"type": "integer"},
    "include_total": {"type": "boolean"},
    "expected": {"type": "object", "description": "Change only if these fields hold these values"},
}


def listed_schema(full: Mapping[str, Any], operation: Operation) -> Schema:
    """The schema of an operation's arguments as tool lists show it.

    Args:
        full: The schema by `ArgumentsModel`.
        operation: The operation.
    """
    properties = {
        name: _argument(name, schema, operation) for name, schema in full["properties"].items()
    }
    return {"type": "object", "properties": properties, **_required(full)}


def _argument(name: str, schema: Schema, operation: Operation) -> Schema:
    listing = operation is Operation.LIST
    match name:
        case "data":
            return _data(schema, operation)
        case "filter":
            return {"type": "object", "description": _FILTER if listing else _SAME_FILTER}
        case "fields" if listing:
            return {"type": "array", "items": _only(schema["items"], _SAID_OF_NAMES)}
        case "group_by":
            return {"type": "array", "items": _only(schema["items"], _SAID_OF_NAMES)}
        case "sort" if operation is Operation.AGGREGATE:
            return {"type": "array", "items": {"type": "string"}, "description": _GROUP_SORT}
        case "limit" if operation is Operation.AGGREGATE:
            return {"type": "integer", "description": f"{DEFAULT_GROUPS}, at most {MAX_GROUPS}"}
        case "sum" | "avg" | "min" | "max" | "count_distinct":
            return {"type": "array", "items": {"type": "string"}}
        case "ids":
            return {"type": "array", "items": _only(schema["items"], _SAID_AGAIN)}
        case "conflict_on":
            return {"enum": schema["enum"]}
        case _:
            return _OPTIONS.get(name) or _only(schema, _SAID_AGAIN)


def _data(schema: Schema, operation: Operation) -> Schema:
    if "anyOf" in schema:
        return {"anyOf": [_data(each, operation) for each in schema["anyOf"]]}
    if operation in _SAME_ROWS and "items" in schema:
        same = {"description": _SAME_ROWS[operation]}
        return {"type": "array", "items": {"type": "object", **_required(schema["items"]), **same}}
    if schema["type"] == "array":
        return {"type": "array", "items": _record(schema["items"], _SAID_AGAIN)}
    if "properties" not in schema:
        return {"type": "object", "description": "With filter: the changes"}
    described = operation in {Operation.CREATE, Operation.UPSERT}
    return _record(schema, _SAID_OF_A_FIELD if described else _SAID_AGAIN)


def _record(schema: Schema, said: tuple[str, ...]) -> Schema:
    fields = {name: _only(field, said) for name, field in schema["properties"].items()}
    if "description" in fields.get("id", {}):
        fields["id"]["description"] = fields["id"]["description"].removesuffix(_KEY_IS_MADE)
    return {"type": "object", "properties": fields, **_required(schema)}


def _required(schema: Mapping[str, Any]) -> Schema:
    return {"required": schema["required"]} if "required" in schema else {}


def _only(schema: Schema, said: tuple[str, ...]) -> Schema:
    short = {name: schema[name] for name in said if name in schema}
    if "enum" in schema and "enum" not in short and "type" not in short:
        types = _types_of(schema["enum"])
        short["type"] = types[0] if len(types) == 1 else types
    return short


_TYPE_NAMES = ((str, "string"), (bool, "boolean"), (int, "integer"), (float, "number"))


def _types_of(values: list[Any]) -> list[str]:
    found = {
        next((name for kind, name in _TYPE_NAMES if isinstance(each, kind)), "null")
        for each in values
    }
    return sorted(found, key=["string", "boolean", "integer", "number", "null"].index)
