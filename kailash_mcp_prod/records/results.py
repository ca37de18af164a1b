"""The JSON Schema (2020-12) of each operation's structured result."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.records.aggregates import MAX_GROUPS, Function, groupable, measurable
from kailash_mcp_prod.records.arguments import MAX_LIMIT
from kailash_mcp_prod.records.cursors import MAX_CURSOR_LENGTH
from kailash_mcp_prod.records.json_schema import compact
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.types import FieldType, Kind

_COUNT = {"type": "integer", "minimum": 0}
_NULL_OR_NUMBER = {"type": ["number", "null"]}
_OUTCOMES = {
    "type": "array",
    "items": {"enum": ["created", "updated"]},
    "description": "What happened to each row, in the order of ids.",
}


def result_schema(model: Model, operation: Operation) -> dict[str, Any]:
    """What a successful call of the operation returns."""
    key = _value_schema(model.key)
    match operation:
        case Operation.CREATE | Operation.UPDATE:
            return _record(model)
        case Operation.READ:
            return _record(model, partial=True)
        case Operation.UPSERT:
            record = _record(model)
            return _object({**record["properties"], "created": {"type": "boolean"}})
        case Operation.DELETE:
            return _object({"id": key, "deleted": {"const": True}})
        case Operation.COUNT:
            return _object({"count": _COUNT})
        case Operation.AGGREGATE:
            return _groups(model)
        case Operation.LIST:
            return _object(
                {
                    "records": {"type": "array", "items": _record(model, partial=True)},
                    "count": {**_COUNT, "maximum": MAX_LIMIT},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
                    "next_cursor": {
                        "type": "string",
                        "maxLength": MAX_CURSOR_LENGTH,
                        "description": "More records follow: give it as cursor.",
                    },
                    "no_next_cursor": {
                        "type": "string",
                        "description": "More records follow, and why there is no cursor.",
                    },
                    "total": _COUNT,
                },
                optional={"next_cursor", "no_next_cursor", "total"},
            )
        case Operation.BULK_UPSERT:
            counts = dict.fromkeys(("processed", "created", "updated"), _COUNT)
            return _object({**counts, "ids": _ids(key), "outcomes": _OUTCOMES})
        case Operation.BULK_CREATE:
            done = "created"
        case Operation.BULK_UPDATE:
            done = "updated"
        case Operation.BULK_DELETE:
            done = "deleted"
    return _object({"processed": _COUNT, done: _COUNT, "ids": _ids(key)})


def _groups(model: Model) -> dict[str, Any]:
    by = {name: _of_field(model, name) for name in groupable(model)}
    members = {"by": _object(by, optional=set(by)), "count": _COUNT}
    for function in Function:
        names = measurable(model, function)
        if names:
            measures = {name: _measure(model, function, name) for name in names}
            members[str(function)] = _object(measures, optional=set(measures))
    group = _object(members, optional={str(each) for each in Function})
    return _object(
        {
            "groups": {"type": "array", "items": group, "maxItems": MAX_GROUPS},
            "count": {**_COUNT, "maximum": MAX_GROUPS, "description": "How many groups these are."},
            "more": {"type": "boolean", "description": "Whether there are more groups."},
        }
    )


def _measure(model: Model, function: Function, name: str) -> dict[str, Any]:
    if function is Function.COUNT_DISTINCT:
        return _COUNT
    of_wholes = model.types[name].kind is Kind.INTEGER
    return _NULL_OR_NUMBER if function is Function.AVG and of_wholes else _of_field(model, name)


def _of_field(model: Model, name: str) -> dict[str, Any]:
    return _or_null(_type_schema(model.types[name]))


def _ids(key: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": key}


def _record(model: Model, *, partial: bool = False) -> dict[str, Any]:
    members = {field.name: _value_schema(field) for field in model.fields}
    return _object(members, optional=set(members) if partial else set())


def _object(properties: dict[str, Any], optional: set[str] | None = None) -> dict[str, Any]:
    required = [name for name in properties if name not in (optional or set())]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _value_schema(field: Field) -> dict[str, Any]:
    """A stored value: rows of other programs may break our constraints, so only the type."""
    schema = _type_schema(field.type)
    if field.name != "id":
        schema = _or_null(schema)
    return {**schema, "description": field.description}


_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.FLOAT: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DECIMAL: {"type": "string", "format": "decimal"},
    Kind.UUID: {"type": "string", "format": "uuid"},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64"},
    Kind.CHOICE: {"type": ["string", "integer"]},
    Kind.OBJECT: {"type": "object"},
    Kind.ARRAY: {"type": "array"},
}


def _type_schema(field_type: FieldType) -> dict[str, Any]:
    schema = dict(_TYPES[field_type.kind])
    if field_type.kind is Kind.CHOICE and all(isinstance(each, str) for each in field_type.choices):
        schema["type"] = "string"
    if field_type.item is not None:
        item = _type_schema(field_type.item)
        if field_type.item.nullable:
            item = _or_null(item)
        schema["items" if field_type.kind is Kind.ARRAY else "additionalProperties"] = item
    return schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return compact({"anyOf": [schema, {"type": "null"}]})
