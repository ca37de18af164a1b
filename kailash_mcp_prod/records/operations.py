"""The twelve operations of a model: their names, hints and the permission each needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kailash_mcp_prod.records.model import Model


class Operation(StrEnum):
    """What a record tool does; the value is the suffix of its name."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"
    BULK_CREATE = "bulk_create"
    BULK_UPDATE = "bulk_update"
    BULK_DELETE = "bulk_delete"
    BULK_UPSERT = "bulk_upsert"
    UPSERT = "upsert"
    COUNT = "count"
    AGGREGATE = "aggregate"


DEFAULT_OPERATIONS: tuple[Operation, ...] = tuple(Operation)[:9]
"""The nine operations that each model gets; the others are turned on by setting."""

_APPEND_ONLY = frozenset(
    {
        Operation.CREATE,
        Operation.READ,
        Operation.LIST,
        Operation.BULK_CREATE,
        Operation.COUNT,
        Operation.AGGREGATE,
    }
)


@dataclass(frozen=True, slots=True)
class Traits:
    """How an operation treats records, in the terms of MCP's tool annotations."""

    access: Literal["read", "write"]
    destructive: bool
    idempotent: bool


TRAITS: dict[Operation, Traits] = {
    Operation.CREATE: Traits("write", destructive=False, idempotent=False),
    Operation.READ: Traits("read", destructive=False, idempotent=True),
    Operation.UPDATE: Traits("write", destructive=True, idempotent=True),
    Operation.DELETE: Traits("write", destructive=True, idempotent=True),
    Operation.LIST: Traits("read", destructive=False, idempotent=True),
    Operation.BULK_CREATE: Traits("write", destructive=False, idempotent=False),
    Operation.BULK_UPDATE: Traits("write", destructive=True, idempotent=True),
    Operation.BULK_DELETE: Traits("write", destructive=True, idempotent=True),
    Operation.BULK_UPSERT: Traits("write", destructive=True, idempotent=True),
    Operation.UPSERT: Traits("write", destructive=True, idempotent=True),
    Operation.COUNT: Traits("read", destructive=False, idempotent=True),
    Operation.AGGREGATE: Traits("read", destructive=False, idempotent=True),
}


def operations_for(model: Model, enabled: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The enabled operations that the model allows, in their fixed order."""
    allowed = _APPEND_ONLY if model.append_only else frozenset(Operation)
    if model.generates_key and len(model.unique_keys) == 1:
        # Without a key of its own, a caller has nothing to recognise a record by.
        allowed -= {Operation.UPSERT, Operation.BULK_UPSERT}
    if not model.creatable:
        allowed -= {
            Operation.CREATE,
            Operation.BULK_CREATE,
            Operation.UPSERT,
            Operation.BULK_UPSERT,
        }
    if model.whole.field("created") is not None:
        # The result of an upsert says by this name whether it made the record.
        allowed -= {Operation.UPSERT}
    return tuple(each for each in Operation if each in enabled and each in allowed)
