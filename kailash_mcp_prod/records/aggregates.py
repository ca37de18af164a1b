"""What an aggregation asks for and gives: groups of records, and measures of each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.query import Condition
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, ORDERED_KINDS, Kind, plain_decimal

MAX_GROUP_FIELDS = 5
MAX_MEASURES = 20
MAX_GROUP_SORTS = 5
DEFAULT_GROUPS = 100
MAX_GROUPS = 1_000

COUNT = "count"
_BY = "by."


class Function(StrEnum):
    """What is made of a field's values in a group; the name of an argument. Nulls don't count."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT_DISTINCT = "count_distinct"


_NUMBERS = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})
_KINDS: Mapping[Function, frozenset[Kind]] = {
    Function.SUM: _NUMBERS,
    Function.AVG: _NUMBERS,
    Function.MIN: ORDERED_KINDS,
    Function.MAX: ORDERED_KINDS,
    Function.COUNT_DISTINCT: COMPARABLE_KINDS,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One function of one field, such as the sum of `total`."""

    function: Function
    field: Field


@dataclass(frozen=True, slots=True)
class GroupSort:
    """One part of the order of groups: by a field, by a measure, or by the count (`None`)."""

    by: Field | Measure | None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is asked for.

    Without `group_by` all records that match are one group, also when there are none. `sort` has
    all fields of `group_by`, so that the order is total. `limit` is in groups.
    """

    condition: Condition
    group_by: tuple[Field, ...] = ()
    measures: tuple[Measure, ...] = ()
    sort: tuple[GroupSort, ...] = ()
    limit: int = DEFAULT_GROUPS


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its values of `group_by`, how many records it has, and the measures, in order.

    Values are in Python form. An average of whole numbers is a float; that of decimals a Decimal.
    """

    by: tuple[Any, ...]
    count: int
    measured: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """Some groups in order, and whether more follow."""

    groups: list[Group]
    more: bool


def groupable(model: Model) -> list[str]:
    """The names of the fields by which records can be grouped."""
    return [each.name for each in model.fields if each.type.kind in COMPARABLE_KINDS]


def measurable(model: Model, function: Function) -> list[str]:
    """The names of the fields of which there is that measure."""
    return [each.name for each in model.fields if each.type.kind in _KINDS[function]]


def parse_aggregation(model: Model, arguments: Mapping[str, Any]) -> Aggregation:
    """The aggregation that validated arguments ask for.

    Args:
        model: The model, or a view of it. No other fields than its own can be named anywhere: this
            is where what is hidden from a caller is refused.
        arguments: They have passed `ArgumentsModel`.

    Raises:
        InvalidArgumentsError: The filter or the order is wrong, or it is too much.
    """
    fields = {each.name: each for each in model.fields}
    group_by = tuple(fields[name] for name in arguments.get("group_by", ()))
    measures = tuple(
        Measure(function, fields[name])
        for function in Function
        for name in arguments.get(function, ())
    )
    if len(measures) > MAX_MEASURES:
        raise InvalidArgumentsError(
            f"Ask for at most {MAX_MEASURES} sums, averages and so on in one call.",
            field=str(measures[MAX_MEASURES].function),
        )
    return Aggregation(
        condition=parse_filter(model, arguments.get("filter")),
        group_by=group_by,
        measures=measures,
        sort=_parse_sort(group_by, measures, arguments.get("sort", ())),
        limit=arguments.get("limit", DEFAULT_GROUPS),
    )


def _parse_sort(
    group_by: tuple[Field, ...], measures: tuple[Measure, ...], raw: list[str] | tuple[str, ...]
) -> tuple[GroupSort, ...]:
    choices: dict[str, Field | Measure | None] = {COUNT: None}
    choices |= {f"{each.function}.{each.field.name}": each for each in measures}
    # A field called count is sorted by as by.count; of others the prefix may be left out.
    choices |= {f"{_BY}{each.name}": each for each in group_by}
    order: list[GroupSort] = []
    for position, text in enumerate(raw):
        where = f"sort[{position}]"
        name = text.removeprefix("-")
        name = name if name in choices else f"{_BY}{name}"
        if name not in choices:
            known = [each.removeprefix(_BY) for each in choices]
            raise InvalidArgumentsError(
                f"Groups can't be sorted by '{shown(text.removeprefix('-'))}' here. Use one of: "
                f"{', '.join(known)}; or ask for it in group_by, sum, avg, min, max or "
                "count_distinct too.",
                field=where,
                details={"choices": known},
            )
        chosen = choices[name]
        if any(each.by == chosen for each in order):
            raise InvalidArgumentsError(
                f"'{shown(text.removeprefix('-'))}' is named twice. Name it once.", field=where
            )
        order.append(GroupSort(chosen, descending=text.startswith("-")))
    rest = [each for each in group_by if not any(sort.by == each for sort in order)]
    return (*order, *map(GroupSort, rest))


def group_to_json(aggregation: Aggregation, group: Group) -> dict[str, Any]:
    """A group as it stands in a result."""
    result: dict[str, Any] = {
        "by": {
            field.name: field.type.to_json(value)
            for field, value in zip(aggregation.group_by, group.by, strict=True)
        },
        COUNT: group.count,
    }
    for measure, value in zip(aggregation.measures, group.measured, strict=True):
        of_function = result.setdefault(str(measure.function), {})
        of_function[measure.field.name] = _measure_to_json(measure, value)
    return result


def _measure_to_json(measure: Measure, value: Any) -> Any:
    if value is None:
        return None
    if measure.function in {Function.MIN, Function.MAX}:
        return measure.field.type.to_json(value)
    if measure.function is Function.COUNT_DISTINCT or measure.field.type.kind is not Kind.DECIMAL:
        return value
    return plain_decimal(value)
