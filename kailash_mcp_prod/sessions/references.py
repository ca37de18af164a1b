"""`{{steps.create_customer.id}}` in a step's parameters: replaced in the parsed JSON.

A value that is one reference and nothing else takes the value with its type. Within longer text a
reference becomes text, and JSON where it refers to no text. What was put in is never looked at
again, so data that holds `{{` stays data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown

MAX_DEPTH: Final = 32
MAX_REFERENCES: Final = 500
MAX_BYTES: Final = 4 * 1024 * 1024

_REFERENCE: Final = re.compile(r"\{\{([^{}]*)\}\}")
_PATH: Final = re.compile(r"[^\s.\[\]{}]+(?:\.[^\s.\[\]{}]+|\[\d{1,6}\])*")
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_MAX_NAMES_SHOWN: Final = 50


def resolve(value: Any, scope: Mapping[str, Any], field: str) -> Any:
    """The value with each reference replaced by what it refers to.

    Args:
        value: A JSON value.
        scope: What may be referred to, by its first name.
        field: Where the value stands in the arguments, for errors.

    Raises:
        InvalidArgumentsError: A reference is unknown or malformed, or there is too much of it.

    Example:
        `resolve({"id": "{{previous_result.id}}"}, {"previous_result": {"id": 7}}, "parameters")`
        is `{"id": 7}`.
    """
    return Resolution(scope)(value, field)


def names_in(value: Any) -> list[str]:
    """The first names of all references in a JSON value."""
    if isinstance(value, str):
        paths = (match[1].strip() for match in _REFERENCE.finditer(value))
        found = [re.split(r"[.\[]", path, maxsplit=1)[0] for path in paths]
    elif isinstance(value, Mapping):
        found = [name for each in value.values() for name in names_in(each)]
    elif isinstance(value, list):
        found = [name for each in value for name in names_in(each)]
    else:
        found = []
    return list(dict.fromkeys(name for name in found if name))


class Resolution:
    """Replaces references in several values, which together may have as much of it as one.

    Args:
        scope: As for `resolve`.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._references = 0
        self._bytes = 0

    def __call__(self, value: Any, field: str) -> Any:
        """See `resolve`."""
        return self._value(value, field, 0)

    def _value(self, value: Any, field: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise InvalidArgumentsError(
                f"{field}: nested deeper than {MAX_DEPTH} levels. Give flatter values.", field=field
            )
        if isinstance(value, str):
            return self._text(value, field) if "{{" in value else value
        if isinstance(value, Mapping):
            return {
                name: self._value(each, _below(field, name), depth + 1)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [
                self._value(each, f"{field}[{position}]", depth + 1)
                for position, each in enumerate(value)
            ]
        return value

    def _text(self, text: str, field: str) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None:
            return self._found(whole[1], field)
        return _REFERENCE.sub(lambda match: _as_text(self._found(match[1], field)), text)

    def _found(self, inner: str, field: str) -> Any:
        path = inner.strip()
        self._references += 1
        if self._references > MAX_REFERENCES:
            raise InvalidArgumentsError(
                f"{field}: more than {MAX_REFERENCES} references in one step. Split the step.",
                field=field,
            )
        if _PATH.fullmatch(path) is None:
            raise InvalidArgumentsError(
                f"{field}: '{{{{{shown(path)}}}}}' is no reference. Write names with dots and "
                "indexes, such as {{steps.make.id}} or {{previous_result.records[0].id}}.",
                field=field,
            )
        found = _follow(path, self._scope, field)
        if self._references > 1 or isinstance(found, (str, list, dict)):
            self._bytes += len(msgspec.json.encode(found))
        if self._bytes > MAX_BYTES:
            raise InvalidArgumentsError(
                f"{field}: the step's references come to more than {MAX_BYTES} bytes. Refer to "
                "less at once.",
                field=field,
            )
        return found


def _follow(path: str, scope: Mapping[str, Any], field: str) -> Any:
    found: Any = scope
    walked = ""
    for match in _STEP.finditer(path):
        index, name = match.groups()
        if index is not None and isinstance(found, list) and int(index) < len(found):
            found, walked = found[int(index)], f"{walked}[{index}]"
        elif name is not None and isinstance(found, Mapping) and name in found:
            found, walked = found[name], f"{walked}.{name}" if walked else name
        else:
            raise _unknown(path, walked, found, field)
    if isinstance(found, Mapping) and not isinstance(found, dict):
        # All steps together are no value.
        raise _unknown(path, walked, found, field)
    return found


def _unknown(path: str, walked: str, found: Any, field: str) -> InvalidArgumentsError:
    names: list[Any] = []
    if isinstance(found, Mapping):
        names = [shown(str(name)) for name in list(found)[:_MAX_NAMES_SHOWN]]
        there = f"There is: {', '.join(names)}." if names else "There is nothing yet."
    elif isinstance(found, list):
        there = f"It is a list of {len(found)}, counted from [0]."
    else:
        there = "It has no members."
    there += _advice(path, walked, found)
    where = f" below {walked}" if walked else ""
    return InvalidArgumentsError(
        f"{field}: the reference '{{{{{shown(path)}}}}}' is unknown{where}. {there}",
        field=field,
        details={"reference": shown(path), "available": names},
    )


def _advice(path: str, walked: str, found: Any) -> str:
    """What an agent has to do whose reference lacks its beginning, or the variable."""
    if walked == "session":
        return " Variables are given in the session_config of create_agent_workflow_session."
    if walked or not isinstance(found, Mapping):
        return ""
    first = re.split(r"[.\[]", path, maxsplit=1)[0]
    for place in ("steps", "session"):
        names = found.get(place)
        if isinstance(names, Mapping) and first in names:
            return f" Did you mean {{{{{place}.{shown(path)}}}}}?"
    return ""


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _below(field: str, name: str) -> str:
    return f"{field}.{shown(str(name))}"
