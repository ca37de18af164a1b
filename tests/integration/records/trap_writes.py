"""Every way to write a record, as one kind of call each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """A way to write.

    `arguments` makes the arguments from a whole new record, what differs in it, and the ids of
    two existing records, of which it writes the second. `path` is where the record's fields stand
    in the arguments, `is_new` whether a record is made.
    """

    operation: str
    path: str
    is_new: bool
    arguments: Callable[[Json, Json, list[str]], Json]


WRITES: dict[str, Write] = {
    "create": Write("create", "data", True, lambda whole, change, _: {"data": {**whole, **change}}),
    "update": Write("update", "data", False, lambda _, change, ids: {"id": ids[1], "data": change}),
    "upsert, new": Write(
        "upsert", "data", True, lambda whole, change, _: {"data": {**whole, **change}}
    ),
    "upsert, existing": Write(
        "upsert",
        "data",
        False,
        lambda whole, change, ids: {"data": {**whole, **change, "id": ids[1]}},
    ),
    "bulk_create": Write(
        "bulk_create",
        "data[1]",
        True,
        lambda whole, change, _: {"data": [whole, {**whole, **change}]},
    ),
    "bulk_update": Write(
        "bulk_update",
        "data[1]",
        False,
        lambda whole, change, ids: {
            "data": [{"id": ids[0], **whole}, {"id": ids[1], **change}],
        },
    ),
    "bulk_update, filter": Write(
        "bulk_update",
        "data",
        False,
        lambda _, change, ids: {"filter": {"id": ids[1]}, "data": change},
    ),
    "bulk_upsert, new": Write(
        "bulk_upsert",
        "data[1]",
        True,
        lambda whole, change, _: {"data": [whole, {**whole, **change}]},
    ),
    "bulk_upsert, existing": Write(
        "bulk_upsert",
        "data[1]",
        False,
        lambda whole, change, ids: {
            "data": [{**whole, "id": ids[0]}, {**whole, **change, "id": ids[1]}],
        },
    ),
}


def written_id(result: Json) -> str:
    """The id of the record that the call was about."""
    key: str = result["id"] if "id" in result else result["ids"][-1]
    return key
