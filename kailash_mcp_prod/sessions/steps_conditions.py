"""The condition of a step: comparisons of JSON values, joined by `all`, `any` and `not`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.references import Resolution

MAX_DEPTH: Final = 8
_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
OPERATORS: Final = ("eq", "ne", *_ORDERS, "in", "nin", "contains", "exists")
_SIGNS: Final = {
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "equals": "eq",
    "not_equals": "ne",
    "not_in": "nin",
}


def holds(given: Any, scope: Mapping[str, Any], field: str) -> bool:
    """Whether a condition holds.

    Args:
        given: `{"left": …, "operator": "gt", "right": …}`, or `all`, `any` or `not` of such, or a
            value that is true or false.
        scope: What references refer to.
        field: Where it stands in the arguments.

    Raises:
        InvalidArgumentsError: It is malformed, or compares what has no order.
    """
    return _holds(given, Resolution(scope), field, 0)


def _holds(given: Any, resolve: Resolution, field: str, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise _wrong(field, f"conditions nest at most {MAX_DEPTH} deep")
    if not isinstance(given, Mapping):
        return _truth(resolve(given, field), field)
    names = set(given)
    if names in ({"all"}, {"any"}):
        [(name, parts)] = given.items()
        if not isinstance(parts, list) or not parts:
            raise _wrong(f"{field}.{name}", "use a list of conditions")
        each = (
            _holds(part, resolve, f"{field}.{name}[{place}]", depth + 1)
            for place, part in enumerate(parts)
        )
        return all(each) if name == "all" else any(each)
    if names == {"not"}:
        return not _holds(given["not"], resolve, f"{field}.not", depth + 1)
    return _compare(given, resolve, field)


def _compare(given: Mapping[str, Any], resolve: Resolution, field: str) -> bool:
    known = {"left", "operator", "right"}
    if "left" not in given or not set(given) <= known:
        raise _wrong(field, "use an object with left, operator and right, or all, any or not")
    name = given.get("operator", "eq")
    name = _SIGNS.get(name, name) if isinstance(name, str) else name
    if name not in OPERATORS:
        raise _wrong(f"{field}.operator", f"use one of {', '.join(OPERATORS)}")
    if name == "exists":
        return _exists(given, resolve, field)
    if "right" not in given:
        raise _wrong(f"{field}.right", "this is required")
    left = resolve(given["left"], f"{field}.left")
    right = resolve(given["right"], f"{field}.right")
    if name in {"eq", "ne"}:
        return _same(left, right) == (name == "eq")
    if name in {"in", "nin"}:
        if not isinstance(right, list):
            raise _wrong(f"{field}.right", "use a list")
        return any(_same(left, each) for each in right) == (name == "in")
    if name == "contains":
        if isinstance(left, str) and isinstance(right, str):
            return right in left
        if isinstance(left, list):
            return any(_same(each, right) for each in left)
        raise _wrong(f"{field}.left", "use text or a list")
    return _ordered(_ORDERS[name], left, right, field)


def _exists(given: Mapping[str, Any], resolve: Resolution, field: str) -> bool:
    wanted = given.get("right", True)
    if not isinstance(wanted, bool):
        raise _wrong(f"{field}.right", "use true or false")
    try:
        found = resolve(given["left"], f"{field}.left") is not None
    except InvalidArgumentsError as unknown:
        if "reference" not in (unknown.details or {}):
            raise
        found = False
    return found is wanted


def _ordered(compare: Callable[[Any, Any], bool], left: Any, right: Any, field: str) -> bool:
    numbers = all(
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in (left, right)
    )
    if numbers or (isinstance(left, str) and isinstance(right, str)):
        return compare(left, right)
    raise _wrong(field, "left and right have no order: use two numbers or two texts")


def _same(left: Any, right: Any) -> bool:
    # In Python true is 1.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _truth(value: Any, field: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong(field, "this is neither true nor false; compare it")


def _wrong(field: str, fix: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(f"{field}: {fix}.", field=field)
