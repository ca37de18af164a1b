"""Values that fit a schema, for records of models that nobody here knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

_FORMATS: Final[dict[str, Callable[[], str]]] = {
    "date": lambda: datetime.now(UTC).date().isoformat(),
    "date-time": lambda: datetime.now(UTC).isoformat(),
    "time": lambda: "12:00:00",
    "uuid": lambda: str(uuid4()),
    "email": lambda: "demo@example.com",
    "uri": lambda: "https://example.com/demo",
    "byte": lambda: "ZGVtbw==",
}
_PLAIN: Final[dict[str, Any]] = {"boolean": True, "array": [], "object": {}}


class NoSampleError(Exception):
    """No value can be found for a schema by itself."""


def sample_record(schema: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """A record with the fields that are required, and no others.

    Args:
        schema: Of the record.
        mark: Stands in its texts, so that they are unlike those of other records.

    Raises:
        NoSampleError: A field takes only what nobody can guess.
    """
    properties = schema.get("properties", {})
    return {name: sample(properties.get(name, {}), mark) for name in schema.get("required", ())}


def sample(schema: Mapping[str, Any], mark: str) -> Any:
    """A value.

    Raises:
        NoSampleError: It takes only what nobody can guess.
    """
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _first(schema[choice], mark)
    types = schema.get("type", "string")
    kinds = [types] if isinstance(types, str) else list(types)
    for kind in ("integer", "number"):
        if kind in kinds:
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    for kind, value in _PLAIN.items():
        if kind in kinds:
            return value
    if "pattern" in schema or "string" not in kinds:
        raise NoSampleError
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]()
    return f"Demo {mark}"[-schema.get("maxLength", 100) :]


def _first(choices: list[Mapping[str, Any]], mark: str) -> Any:
    for each in choices:
        try:
            return sample(each, mark)
        except NoSampleError:
            continue
    raise NoSampleError
