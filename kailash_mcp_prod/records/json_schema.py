"""Makes pydantic's JSON Schemas small and plain: no titles, no references, no needless anyOf."""

from __future__ import annotations

from typing import Any

_DEFINITIONS = "#/$defs/"


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, shorter; it accepts exactly the same documents."""
    result = _compact(schema, schema.get("$defs", {}))
    result.pop("$defs", None)
    return result


def _compact(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is not None:
        target = definitions[reference.removeprefix(_DEFINITIONS)]
        siblings = {name: value for name, value in schema.items() if name != "$ref"}
        return _compact({**target, **siblings}, definitions)
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name in {"title", "$defs"}:
            continue
        if name == "properties":
            result[name] = {key: _compact(each, definitions) for key, each in value.items()}
        elif isinstance(value, dict) and name in {"items", "additionalProperties", "not"}:
            result[name] = _compact(value, definitions)
        elif name == "anyOf":
            result[name] = [_compact(each, definitions) for each in value]
        else:
            result[name] = value
    return _fold_null(result)


def _fold_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Writes `anyOf: [X, null]` as X that also allows null, which says the same in less."""
    options = schema.get("anyOf")
    if not options or len(options) != 2 or options[1] != {"type": "null"}:
        return schema
    option = dict(options[0])
    if "enum" in option:
        option["enum"] = [*option["enum"], None]
    if "type" in option:
        types = option["type"] if isinstance(option["type"], list) else [option["type"]]
        option["type"] = [*types, "null"]
    elif "enum" not in option:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**option, **rest}
