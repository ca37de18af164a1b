"""The tools of the surface `compact` that stand for one operation of every model.

A shortcut has the arguments of the record tool that it stands for, with `model` before them. The
record tool validates them, so its errors name the right places here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kailash_mcp_prod.records.aggregates import Function
from kailash_mcp_prod.records.operations import TRAITS, Operation
from kailash_mcp_prod.tools.spec import Hints

Schema = dict[str, Any]

_OBJECT: Schema = {"type": "object"}
_NAMES: Schema = {"type": "array", "items": {"type": "string"}}
_FILTER: Schema = {
    "type": "object",
    "description": "{field: value} or {field: {operator: value}}, see find_records",
}
# A key is text or a whole number, as the model says.
_ID: Schema = {"type": ["string", "integer"]}


@dataclass(frozen=True, slots=True)
class Shortcut:
    """One tool of the surface.

    `operations` says by the value of the argument `action` which operation it stands for; without
    that argument it is one.
    """

    name: str
    title: str
    description: str
    operations: Mapping[str, Operation]
    properties: Mapping[str, Schema]
    required: tuple[str, ...]
    by_action: bool = False

    @property
    def hints(self) -> Hints:
        """The worst of the operations' hints."""
        traits = [TRAITS[each] for each in self.operations.values()]
        return Hints(
            read_only=all(each.access == "read" for each in traits),
            destructive=any(each.destructive for each in traits),
            idempotent=all(each.idempotent for each in traits),
        )


def _one(operation: Operation) -> dict[str, Operation]:
    return {"": operation}


SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut(
        name="find_records",
        title="Find records",
        description=(
            "Returns the records of a model that match a filter, a page at a time. "
            'Example of a filter: {"created_at": {"$gte": "2026-03-01T00:00:00Z"}}'
        ),
        operations=_one(Operation.LIST),
        properties={
            "filter": {
                "type": "object",
                "description": (
                    "Operators $eq $ne $in $nin $gt $gte $lt $lte $like $ilike $contains $null; "
                    "$and $or take lists of conditions, $not one"
                ),
            },
            "sort": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Field names; -field descends",
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
            "cursor": {"type": "string", "description": "next_cursor of the page before"},
            "offset": {"type": "integer", "minimum": 0},
            "fields": {
                "type": "array",
                "items": {"type": "string"},
                "description": "To return; all when absent",
            },
            "include_total": {"type": "boolean"},
        },
        required=(),
    ),
    Shortcut(
        name="get_record",
        title="Get a record",
        description="Returns one record by its id.",
        operations=_one(Operation.READ),
        properties={"id": _ID, "fields": _NAMES},
        required=("id",),
    ),
    Shortcut(
        name="aggregate_records",
        title="Count, sum and group records",
        description=(
            "Counts the records of a model that match a filter, all together or in groups with the "
            "same values of group_by, and adds up, averages or compares fields in each group. The "
            "count is in groups[].count. "
            'Example: {"group_by": ["created_by"], "sort": ["-count"], "limit": 10}'
        ),
        operations=_one(Operation.AGGREGATE),
        properties={
            "filter": _FILTER,
            "group_by": _NAMES,
            **{str(function): _NAMES for function in Function},
            "sort": {
                "type": "array",
                "items": {"type": "string"},
                "description": "-count, -sum.total, or a field of group_by",
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        },
        required=(),
    ),
    Shortcut(
        name="create_record",
        title="Create a record",
        description=(
            "Creates one record and returns it with its id and defaults. describe_models has the "
            "fields."
        ),
        operations=_one(Operation.CREATE),
        properties={"data": _OBJECT},
        required=("data",),
    ),
    Shortcut(
        name="update_record",
        title="Update a record",
        description="Changes the given fields of one record and returns it.",
        operations=_one(Operation.UPDATE),
        properties={
            "id": _ID,
            "data": _OBJECT,
            "expected": {
                "type": "object",
                "description": "Change only if these fields hold these values",
            },
        },
        required=("id", "data"),
    ),
    Shortcut(
        name="delete_record",
        title="Delete a record",
        description="Deletes one record by its id.",
        operations=_one(Operation.DELETE),
        properties={"id": _ID},
        required=("id",),
    ),
    Shortcut(
        name="bulk_write",
        title="Write many records",
        description=(
            "Creates, updates, deletes or upserts up to 1,000 records, all or none. create, "
            "upsert: data is a list of records. update: data is a list of changes with ids, or "
            "one object for all that match filter. delete: ids or filter."
        ),
        operations={
            "create": Operation.BULK_CREATE,
            "update": Operation.BULK_UPDATE,
            "delete": Operation.BULK_DELETE,
            "upsert": Operation.BULK_UPSERT,
        },
        properties={
            "data": {"type": ["array", "object"], "items": _OBJECT},
            "ids": {"type": "array", "items": _ID},
            "filter": _FILTER,
            "conflict_on": {
                "type": "array",
                "items": {"type": "string"},
                "description": "upsert: the unique key, id by default",
            },
        },
        required=(),
        by_action=True,
    ),
)
