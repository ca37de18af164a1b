"""The body of `execute-tool`: the tool, its arguments, and in which session it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.claimed_session import SESSION_ARGUMENT

LONGEST_LABEL: Final = 255

_KNOWN: Final = ("tool_name", "arguments", "session_id", "agent_id")
_SYNONYMS: Final = {"name": "tool_name", "parameters": "arguments"}


class NamedCall(NamedTuple):
    """What a body asks for. `label` is what the client calls itself, and decides nothing."""

    tool: str
    arguments: dict[str, Any]
    label: str | None


def named_call(body: Mapping[str, Any]) -> NamedCall:
    """Reads a body.

    Raises:
        InvalidArgumentsError: A member is missing, unknown, wrong or there twice.
    """
    for key in body:
        if key not in _KNOWN and key not in _SYNONYMS:
            raise InvalidArgumentsError(
                f"{shown(key)}: unknown argument: remove it or mend its name.",
                field=shown(key),
                details={"known_fields": list(_KNOWN)},
            )
    for synonym, field in _SYNONYMS.items():
        if synonym in body and field in body:
            raise InvalidArgumentsError(f"{synonym}: leave it out; {field} says it.", field=synonym)
    field = "name" if "name" in body else "tool_name"
    name = body.get(field)
    if not isinstance(name, str) or not name:
        raise InvalidArgumentsError(f"{field}: name the tool, as text.", field=field)
    field = "parameters" if "parameters" in body else "arguments"
    arguments = body.get(field, {})
    if not isinstance(arguments, dict):
        raise InvalidArgumentsError(f"{field}: use an object.", field=field)
    session = _text(body, "session_id")
    if session is not None:
        if SESSION_ARGUMENT in arguments:
            raise InvalidArgumentsError(
                f"session_id: leave it out; {SESSION_ARGUMENT} says it.", field="session_id"
            )
        arguments = {**arguments, SESSION_ARGUMENT: session}
    return NamedCall(name, arguments, _text(body, "agent_id"))


def _text(body: Mapping[str, Any], field: str) -> str | None:
    """The text of a member; `null` is as if it were not there, as programs fill in forms."""
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_LABEL:
        raise InvalidArgumentsError(
            f"{field}: use text of 1 to {LONGEST_LABEL} characters, or leave it out.", field=field
        )
    return value
