"""The arguments and results of the tools for workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown

_LONGEST_NAME: Final = 128
_FIXES: Final[dict[Any, str]] = {str: "use text", dict: "use an object"}
TEXT: Final[dict[str, Any]] = {"type": "string"}


def checked_by_nexus(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What Nexus refuses on all of its own ways in is refused here too.

    Raises:
        InvalidArgumentsError: A name is one of Python's internals, or too long.
    """
    from nexus.validation import DANGEROUS_KEYS, MAX_KEY_LENGTH

    for name in inputs:
        if name in DANGEROUS_KEYS or name.startswith("__") or len(name) > MAX_KEY_LENGTH:
            raise InvalidArgumentsError(
                f"{shown(name)}: Nexus takes no input of this name.", field=shown(name)
            )
    return dict(inputs)


def arguments(
    given: Mapping[str, Any],
    kinds: Mapping[str, type | tuple[type, ...]],
    required: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """The arguments of a call, if there are no others than these.

    Args:
        given: The arguments.
        kinds: What each of them has to be.
        required: Those that have to be there.

    Raises:
        InvalidArgumentsError: One is missing, unknown or wrong.
    """
    for name, value in given.items():
        if name not in kinds:
            raise InvalidArgumentsError(
                f"{shown(name)}: unknown argument: remove it or mend its name.",
                field=shown(name),
                details={"known_fields": list(kinds)},
            )
        if isinstance(value, bool) or not isinstance(value, kinds[name]):
            fix = _FIXES.get(kinds[name], "use a number")
            raise InvalidArgumentsError(f"{name}: {fix}.", field=name)
        if isinstance(value, str) and len(value) > _LONGEST_NAME:
            raise InvalidArgumentsError(
                f"{name}: use at most {_LONGEST_NAME} characters.", field=name
            )
    for name in required:
        if name not in given:
            raise InvalidArgumentsError(f"{name}: this argument is required.", field=name)
    return given


def json_object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object with these members and no others."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


RESULT: Final = json_object(
    {
        "workflow": TEXT,
        "execution_id": TEXT,
        "results": {"type": "object", "description": "The outputs of its nodes, by their ids."},
    },
    "workflow",
    "execution_id",
    "results",
)
LISTED: Final = json_object(
    {
        "workflows": {
            "type": "array",
            "items": json_object(
                {
                    "name": TEXT,
                    "description": TEXT,
                    "inputs_known": {"type": "boolean"},
                    "input_schema": {"type": "object"},
                    "metadata": {"type": "object"},
                },
                "name",
                "description",
                "inputs_known",
            ),
        },
        "count": {"type": "integer", "minimum": 0},
    },
    "workflows",
    "count",
)
