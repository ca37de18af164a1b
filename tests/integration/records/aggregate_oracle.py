"""What an aggregation of records in their JSON form gives, written anew with fractions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.integration.records.trap_oracle import comparable, truth

Json = dict[str, Any]

DECIMALS = ("price", "amount")
FUNCTIONS = ("sum", "avg", "min", "max", "count_distinct")


def aggregated(records: list[Json], asked: Json) -> Json:
    """The result of an aggregation; sums of floats are exact and rounded once."""
    matching = [each for each in records if truth(asked.get("filter", {}), each) is True]
    names = asked.get("group_by", [])
    members: dict[tuple[Any, ...], list[Json]] = {} if names else {(): matching}
    for record in matching if names else []:
        members.setdefault(tuple(same(name, record[name]) for name in names), []).append(record)
    groups = [group(some, asked) for some in members.values()]
    order = [*asked.get("sort", []), *names]
    for text in reversed(order):
        groups = sorted_by(groups, text)
    limit = asked.get("limit", 100)
    shown = groups[:limit]
    return {"groups": shown, "count": len(shown), "more": len(groups) > limit}


def same(name: str, value: Any) -> Any:
    """What equal values have in common; True is not 1, and 1 is not "1"."""
    found = comparable(name, value)
    return (isinstance(found, str), found)


def group(members: list[Json], asked: Json) -> Json:
    result: Json = {
        "by": {name: extreme(name, members, min) for name in asked.get("group_by", [])},
        "count": len(members),
    }
    for function in FUNCTIONS:
        if asked.get(function):
            result[function] = {name: measure(function, name, members) for name in asked[function]}
    return result


def measure(function: str, name: str, members: list[Json]) -> Any:
    values = [each[name] for each in members if each[name] is not None]
    match function:
        case "count_distinct":
            return len({same(name, each) for each in values})
        case "min":
            return extreme(name, members, min)
        case "max":
            return extreme(name, members, max)
    if not values:
        return None
    exact = sum((Fraction(each) for each in values), Fraction(0))
    if name in DECIMALS:
        places = places_of(values)
        if function == "sum":
            return decimal_text(exact, places)
        rounded = half_away(exact / len(values), places + 6)
        text = decimal_text(rounded, places + 6)
        zeros = len(text) - len(text.rstrip("0"))
        return decimal_text(rounded, places + 6 - min(zeros, 6))
    if function == "avg":
        return float(exact / len(values))
    return float(exact) if name == "real" else int(exact)


def extreme(name: str, members: list[Json], choose: Any) -> Any:
    values = [each[name] for each in members if each[name] is not None]
    if not values:
        return None
    chosen = choose(values, key=lambda value: comparable(name, value))
    if name in DECIMALS:
        return decimal_text(Fraction(chosen), places_of(values))
    return chosen + 0.0 if isinstance(chosen, float) else chosen


def places_of(texts: Iterable[str]) -> int:
    return max(len(text.partition(".")[2]) for text in texts)


def half_away(value: Fraction, places: int) -> Fraction:
    scaled = abs(value) * 10**places
    rounded = Fraction(math.floor(scaled + Fraction(1, 2)), 10**places)
    return -rounded if value < 0 else rounded


def decimal_text(value: Fraction, places: int) -> str:
    digits = str(int(abs(value) * 10**places)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if value < 0 else text


def sorted_by(groups: list[Json], text: str) -> list[Json]:
    part = text.removeprefix("-")

    def value(each: Json) -> Any:
        if part == "count":
            return each["count"]
        function, _, name = part.partition(".")
        return each[function][name] if name else each["by"][part]

    def key(each: Json) -> Any:
        name = part.rpartition(".")[2]
        held = value(each)
        if name in DECIMALS and isinstance(held, str):
            return (False, Decimal(held))
        if name in {"moment", "created_at", "updated_at"} and isinstance(held, str):
            return (False, datetime.fromisoformat(held))
        return (isinstance(held, str), held)

    present = [each for each in groups if value(each) is not None]
    absent = [each for each in groups if value(each) is None]
    present.sort(key=key, reverse=text.startswith("-"))
    return present + absent


def agrees(result: Any, expected: Any, slack: float) -> bool:
    """Whether a result is the expected one; floats may differ by a rounding of their sum."""
    if isinstance(expected, float) and isinstance(result, int | float):
        return math.isclose(result, expected, rel_tol=1e-12, abs_tol=slack)
    if isinstance(expected, dict) and isinstance(result, dict):
        return list(result) == list(expected) and all(
            agrees(result[name], expected[name], slack) for name in expected
        )
    if isinstance(expected, list) and isinstance(result, list):
        return len(result) == len(expected) and all(
            agrees(one, other, slack) for one, other in zip(result, expected, strict=True)
        )
    return type(result) is type(expected) and bool(result == expected)
