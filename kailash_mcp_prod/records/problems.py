"""Turns pydantic's findings into one error that names the field and the fix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kailash_mcp_prod.errors import InvalidArgumentsError

Location = tuple[int | str, ...]

MAX_PROBLEMS = 20
UNKNOWN_NAME = "extra_forbidden"

_FIXES = {
    "missing": "this argument is required",
    UNKNOWN_NAME: "unknown argument: remove it or mend its name",
    "string_type": "use text",
    "string_unicode": "the text has a lone surrogate, which can't be stored",
    "int_type": "use a whole number",
    "float_type": "use a number",
    "int_parsing_size": "the number is too large",
    "bool_type": "use true or false",
    "list_type": "use an array",
    "dict_type": "use an object",
    "model_type": "use an object",
    "model_attributes_type": "use an object",
    "finite_number": "the number must be finite",
}


def describe_problems(error: ValidationError, *, prefix: str = "") -> InvalidArgumentsError:
    """The error for a caller; the first problem is the headline, the rest are in `details`.

    Args:
        error: What pydantic found.
        prefix: Where the validated value stands in the arguments.
    """
    return describe_findings(findings_of(error), prefix=prefix)


def findings_of(error: ValidationError, *below: int | str) -> list[ErrorDetails]:
    """What pydantic found, without the values, in a part of the arguments that stands `below`.

    In a list, the last step is the index of the first validated element.
    """
    found = error.errors(include_url=False, include_input=False)
    for each in found:
        each["loc"] = _moved(each["loc"], below)
    return found


def _moved(location: Location, below: Location) -> Location:
    if below and isinstance(below[-1], int) and location and isinstance(location[0], int):
        return (*below[:-1], below[-1] + location[0], *location[1:])
    return (*below, *location)


def describe_findings(
    found: Sequence[ErrorDetails], *, prefix: str = "", known: Sequence[str] = ()
) -> InvalidArgumentsError:
    """The error for a caller; at most 20 problems are listed.

    Args:
        found: What pydantic found, one at least.
        prefix: Where the validated value stands in the arguments.
        known: The names that are allowed where an unknown one was found.
    """
    problems = [
        {"field": _path(prefix, each["loc"]), "message": _message(each)}
        for each in found[:MAX_PROBLEMS]
    ]
    details: dict[str, Any] = {"problems": problems} if len(found) > 1 else {}
    if known and any(each["type"] == UNKNOWN_NAME for each in found):
        details["known_fields"] = list(known)
    head = problems[0]
    where = f"{head['field']}: " if head["field"] else ""
    return InvalidArgumentsError(
        f"{where}{head['message']}.", field=head["field"] or None, details=details or None
    )


def _path(prefix: str, location: Location) -> str:
    path = prefix
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{shown(step)}" if path else shown(step)
    return path


def shown(name: str) -> str:
    """A caller's name as it may stand in a message: short, and without lone surrogates."""
    return name[:100].encode("utf-8", "replace").decode()


_SUBJECT = re.compile(r"^(?:Input|String|Value|List|Dictionary|Data) should ")


def _message(problem: ErrorDetails) -> str:
    kind = problem["type"]
    if kind in _FIXES:
        return _FIXES[kind]
    context = problem.get("ctx") or {}
    if kind == "too_short":
        return f"give at least {context['min_length']}"
    if kind == "too_long":
        return f"give at most {context['max_length']}"
    return _SUBJECT.sub("must ", problem["msg"])[:500]
