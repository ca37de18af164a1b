"""The arguments of a record tool, from the natural forms in which steps give them."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError

_OPERATIONS: Final = {"get": "read", "find": "list", "query": "list", "search": "list"}
_FLAT: Final = {"create": (), "update": ("id", "expected"), "upsert": ("conflict_on",)}
_NAMES: Final = {"filters": "filter", "where": "filter", "order_by": "sort"}
_UNCHANGED: Final = " Nothing was changed."
_WITH_FILTER: Final = frozenset({"list", "count", "aggregate", "bulk_update", "bulk_delete"})


def tool_of(model: str, operation: str) -> str:
    """The name of the record tool for an operation, also by another name that it goes by."""
    return f"{model}_{_OPERATIONS.get(operation, operation)}"


def arguments_of(
    operation: str, parameters: Mapping[str, Any], field: str
) -> tuple[dict[str, Any], bool]:
    """The tool's arguments, and whether the fields of a record were given without `data`.

    A `create` with parameters that are not just `data` has the fields themselves, and so have
    `update` beside `id` and `expected` and `upsert` beside `conflict_on`. `filters` is `filter`.

    Raises:
        InvalidArgumentsError: A member is given by both of its names.
    """
    operation = _OPERATIONS.get(operation, operation)
    given = dict(parameters)
    if operation in _WITH_FILTER:
        for other, name in _NAMES.items():
            if other in given:
                if name in given:
                    raise InvalidArgumentsError(
                        f"{field}.{other}: given twice, also as {name}. Give it once.",
                        field=f"{field}.{other}",
                    )
                given[name] = given.pop(other)
        if isinstance(given.get("sort"), str):
            given["sort"] = [given["sort"]]
    if operation in _FLAT and not isinstance(given.get("data"), Mapping):
        own = _FLAT[operation]
        data = {name: value for name, value in given.items() if name not in own}
        return {**{name: given[name] for name in own if name in given}, "data": data}, True
    return given, False


def placed(error: ServerError, field: str, *, flat: bool) -> ServerError:
    """An error of a tool whose arguments stand in a step.

    Args:
        error: The tool's error.
        field: Where the arguments stand.
        flat: Whether the fields of a record stand there without `data`.
    """
    moved = error.below(field)
    if not flat:
        return moved
    before = f"{field}.data"

    def without_data(text: str) -> str:
        return (
            field + text[len(before) :] if text.startswith((f"{before}.", f"{before}:")) else text
        )

    if moved.field is not None:
        moved.field = without_data(moved.field)
        moved.message = without_data(moved.message)
        moved.args = (moved.message,)
    problems = (moved.details or {}).get("problems")
    if isinstance(problems, list):
        found = [{**each, "field": without_data(each["field"])} for each in problems]
        moved.details = {**(moved.details or {}), "problems": found}
    return moved


def of_part(error: ServerError) -> ServerError:
    """An error of one of several calls: others may have changed something, whatever it says."""
    return _saying(error, error.message.replace(_UNCHANGED, ""))


def of_workflow(error: ServerError, inputs: Collection[str], field: str, name: str) -> ServerError:
    """An error of a call that a registered workflow made.

    Args:
        error: The error, whose field is an argument of that call, or an input of the workflow.
        inputs: The names of the inputs.
        field: Where the step stands in the arguments.
        name: The workflow.
    """
    found = of_part(error)
    if error.field is None:
        return found
    if re.split(r"[.\[]", error.field, maxsplit=1)[0] in inputs:
        return found.below(f"{field}.inputs")
    found.field = f"{field}.workflow"
    return _saying(found, f"{found.field}: a call of {name} failed: {found.message}")


def _saying(error: ServerError, message: str) -> ServerError:
    found = copy.copy(error)
    found.message, found.args = message, (message,)
    return found
