"""Arguments of the tools for agents: one small description gives the JSON Schema and the check.

Not pydantic, which would take two milliseconds for each tool whenever a stdio server starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.records.problems import shown

JsonSchema = dict[str, Any]
Check = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be: its JSON Schema, and the function that checks it.

    The function gets the value and its path, and returns the value to work with.
    """

    schema: JsonSchema
    check: Check

    def saying(self, description: str) -> Kind:
        """The same with a description."""
        return Kind({**self.schema, "description": description}, self.check)

    def by_default(self, default: Any) -> Kind:
        """The same, saying what counts when it is left out."""
        return Kind({**self.schema, "default": default}, self.check)


def refuse(field: str, fix: str, **details: Any) -> InvalidArgumentsError:
    """The error for an argument: its path and what to do about it."""
    return InvalidArgumentsError(f"{field}: {fix}.", field=field, details=details or None)


def text(longest: int, *, shortest: int = 1) -> Kind:
    """Printable text of one line."""

    def check(value: Any, field: str) -> str:
        if type(value) is not str:
            raise refuse(field, "use text")
        if not shortest <= len(value) <= longest:
            raise refuse(field, f"use {shortest} to {longest} characters")
        if not value.isprintable():
            raise refuse(field, "use printable characters only")
        return value

    return Kind({"type": "string", "minLength": shortest, "maxLength": longest}, check)


def handle(longest: int = 64) -> Kind:
    """An id that the server has made; any other text is merely unknown."""

    def check(value: Any, field: str) -> str:
        if type(value) is not str:
            raise refuse(field, "use text")
        return looked_up(value, longest)

    return Kind({"type": "string"}, check)


def looked_up(value: str, longest: int = 64) -> str:
    """A text by which something may be looked up in a database.

    What is no id of ours is looked up like one, so that it answers like one.
    """
    return value[: longest + 1].encode("utf-8", "replace").decode().replace("\0", "?")


def whole(least: int, most: int) -> Kind:
    """A whole number."""

    def check(value: Any, field: str) -> int:
        if type(value) is not int:
            raise refuse(field, "use a whole number")
        if not least <= value <= most:
            raise refuse(field, f"use a number from {least} to {most}")
        return value

    return Kind({"type": "integer", "minimum": least, "maximum": most}, check)


def flag() -> Kind:
    """True or false."""

    def check(value: Any, field: str) -> bool:
        if type(value) is not bool:
            raise refuse(field, "use true or false")
        return value

    return Kind({"type": "boolean"}, check)


def choice(*options: str) -> Kind:
    """One of a few words."""

    def check(value: Any, field: str) -> str:
        if type(value) is not str or value not in options:
            raise refuse(field, f"use one of: {', '.join(options)}", choices=list(options))
        return value

    return Kind({"enum": list(options)}, check)


def record_key() -> Kind:
    """The key of a record: text or a whole number."""

    def check(value: Any, field: str) -> str | int:
        if type(value) not in {str, int} or len(str(value)[:256]) > 255:
            raise refuse(field, "use the id of a record")
        key: str | int = value
        return key

    return Kind({"type": ["string", "integer"]}, check)


def json_value(most_bytes: int) -> Kind:
    """Any JSON value; becomes its text."""

    def check(value: Any, field: str) -> str:
        return encoded(value, field, most_bytes)

    return Kind({}, check)


def json_object(most_bytes: int, most_keys: int) -> Kind:
    """An object with any JSON values; they become their texts, together not too long."""
    key = text(255)

    def check(value: Any, field: str) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise refuse(field, "use an object")
        if len(value) > most_keys:
            raise refuse(field, f"give at most {most_keys} keys", limit=most_keys)
        left, found = most_bytes, {}
        for name, each in value.items():
            path = f"{field}.{shown(str(name))}"
            key.check(name, path)
            found[name] = encoded(each, path, most_bytes)
            left -= len(found[name].encode())
        if left < 0:
            raise refuse(field, f"use at most {most_bytes} bytes as JSON", limit=most_bytes)
        return found

    return Kind({"type": "object"}, check)


def array(item: Kind, most: int, *, least: int = 0) -> Kind:
    """A list of values of one kind."""

    def check(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise refuse(field, "use an array")
        if not least <= len(value) <= most:
            raise refuse(field, f"give {least} to {most} elements", limit=most)
        return [item.check(each, f"{field}[{number}]") for number, each in enumerate(value)]

    schema: JsonSchema = {"type": "array", "items": item.schema, "maxItems": most}
    if least:
        schema["minItems"] = least
    return Kind(schema, check)


def one_or_more(item: Kind, most: int) -> Kind:
    """A list with at least one text of a kind, or just one without a list."""
    several = array(item, most, least=1)

    def check(value: Any, field: str) -> list[Any]:
        return [item.check(value, field)] if type(value) is str else several.check(value, field)

    return Kind({**several.schema, **item.schema, "type": ["array", "string"]}, check)


def or_text(brief: Kind, whole: Kind, member: str) -> Kind:
    """An object, or a text that stands for the object with just that member."""

    def check(value: Any, field: str) -> Any:
        if type(value) is str:
            return whole.check({member: brief.check(value, field)}, field)
        return whole.check(value, field)

    return Kind({**brief.schema, **whole.schema, "type": ["object", "string"]}, check)


def nested(properties: Mapping[str, Kind], required: Sequence[str] = ()) -> Kind:
    """An object with these members and no others."""
    form = Arguments(properties, required)

    def check(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refuse(field, "use an object")
        return form.check(value, below=field)

    return Kind(form.schema(), check)


class Arguments:
    """All arguments of a tool.

    Args:
        properties: What each may be, by its name.
        required: Those that have to be given.

    Example:
        ```python
        form = Arguments({"session_id": handle()}, ["session_id"])
        form.check({"session_id": "as_1"})
        ```
    """

    def __init__(self, properties: Mapping[str, Kind], required: Sequence[str] = ()) -> None:
        self._properties = dict(properties)
        self._required = tuple(required)

    def schema(self) -> JsonSchema:
        """The JSON Schema, which accepts what `check` does but for lengths in bytes."""
        schema: JsonSchema = {
            "type": "object",
            "properties": {name: kind.schema for name, kind in self._properties.items()},
        }
        if self._required:
            schema["required"] = list(self._required)
        return {**schema, "additionalProperties": False}

    def check(self, given: Mapping[str, Any], *, below: str = "") -> dict[str, Any]:
        """The arguments as the tool works with them.

        Raises:
            InvalidArgumentsError: One is missing, unknown or wrong.
        """
        start = f"{below}." if below else ""
        for name in given:
            if name not in self._properties:
                raise refuse(
                    f"{start}{shown(str(name))}",
                    "unknown argument: remove it or mend its name",
                    known_fields=list(self._properties),
                )
        for name in self._required:
            if name not in given:
                raise refuse(f"{start}{name}", "this argument is required")
        return {
            name: self._properties[name].check(value, f"{start}{name}")
            for name, value in given.items()
        }


MAX_VALUE_BYTES: Final = 65_536
"""How long any single value may be."""


def encoded(value: Any, field: str, most_bytes: int = MAX_VALUE_BYTES) -> str:
    """A JSON value as text that every database takes.

    Raises:
        InvalidArgumentsError: It is no JSON, or too long.
    """
    if canonical({"": value}) is None:
        raise refuse(field, "use a value that JSON has")
    plain = msgspec.json.encode(value)
    if len(plain) > most_bytes:
        raise refuse(field, f"use at most {most_bytes} bytes as JSON", limit=most_bytes)
    return plain.decode()
