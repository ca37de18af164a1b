"""The arguments with which records are aggregated, and the schema of what comes of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from kailash_mcp_prod.records.aggregates import (
    DEFAULT_GROUPS,
    MAX_GROUP_FIELDS,
    MAX_GROUP_SORTS,
    MAX_GROUPS,
    MAX_MEASURES,
    Function,
    groupable,
    measurable,
)
from kailash_mcp_prod.records.model import Model

_SAID = {
    Function.SUM: "Number fields to add up in each group.",
    Function.AVG: "Number fields to average in each group.",
    Function.MIN: "Fields of which to find the least value in each group.",
    Function.MAX: "Fields of which to find the greatest value in each group.",
    Function.COUNT_DISTINCT: "Fields of which to count the different values in each group.",
}


def aggregate_arguments(model: Model) -> dict[str, Any]:
    """The members besides the filter, as those of a TypedDict."""
    names = groupable(model)
    members = {
        "group_by": _names(
            names,
            min(len(names), MAX_GROUP_FIELDS),
            "Fields; records with the same values in them are a group. Without any, all that "
            "match are one group.",
        )
    }
    for function in Function:
        names = measurable(model, function)
        if names:
            members[str(function)] = _names(names, min(len(names), MAX_MEASURES), _SAID[function])
    limit = Annotated[int, Strict(), Ge(1), Le(MAX_GROUPS)]
    members["sort"] = _sort(model)
    members["limit"] = Annotated[
        limit,
        Field(
            description="How many groups to return at most.",
            json_schema_extra={"default": DEFAULT_GROUPS},
        ),
    ]
    return {name: NotRequired[each] for name, each in members.items()}


def _names(names: list[str], at_most: int, description: str) -> Any:
    item: Any = Literal.__getitem__(tuple(names))
    chosen: Any = list.__class_getitem__(item)
    return Annotated[
        chosen,
        Strict(),
        MaxLen(at_most),
        AfterValidator(_once_each),
        Field(description=description, json_schema_extra={"uniqueItems": True}),
    ]


def _once_each(names: list[str]) -> list[str]:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise PydanticCustomError("twice", "'{name}' is named twice", {"name": name})
    return names


def _sort(model: Model) -> Any:
    functions = "|".join(Function)
    fields = "|".join(groupable(model))
    pattern = rf"^-?(count|((({functions})|by)\.)?({fields}))$"
    schema = {
        "type": "array",
        "items": {"type": "string", "pattern": pattern},
        "maxItems": MAX_GROUP_SORTS,
    }
    texts = list[Annotated[str, Strict()]]
    return Annotated[
        texts,
        Strict(),
        MaxLen(MAX_GROUP_SORTS),
        WithJsonSchema(schema),
        Field(
            description="count, fields of group_by and measures such as sum.total; a leading - "
            "sorts descending. Nulls come last, ties go by the fields of group_by."
        ),
    ]
