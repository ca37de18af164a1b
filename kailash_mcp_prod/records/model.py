"""What the record layer knows of a model: values only, nothing of DataFlow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kailash_mcp_prod.records.types import FieldType, Kind

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What `__validation__` of a model asks of a field's value."""

    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    one_of: tuple[Any, ...] = ()
    checks: tuple[tuple[str, Callable[[Any], bool]], ...] = ()


NO_CONSTRAINTS = Constraints()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a model.

    `required` fields have no default; `default` is a value or a function that makes one.
    `read_only` fields are kept by DataFlow or the database and can't be written.
    """

    name: str
    type: FieldType
    description: str
    required: bool
    default: Any = None
    read_only: bool = False
    constraints: Constraints = NO_CONSTRAINTS

    def default_value(self) -> Any:
        """A fresh default: functions are called and collections copied."""
        if callable(self.default):
            return self.default()
        return copy.deepcopy(self.default)


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its table, its fields in order (the key first) and its unique keys."""

    name: str
    table: str
    description: str
    fields: tuple[Field, ...]
    unique_keys: tuple[tuple[str, ...], ...] = ()
    unique_indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    append_only: bool = False
    soft_delete: bool = False

    @property
    def key(self) -> Field:
        """The primary key, always named `id`."""
        return self.fields[0]

    @property
    def generates_key(self) -> bool:
        """Whether the database makes the key: an integer one, never given by a caller."""
        return self.key.type.kind is Kind.INTEGER

    @property
    def writable(self) -> tuple[Field, ...]:
        """The fields that a caller may set; without the key."""
        return tuple(each for each in self.fields[1:] if not each.read_only)

    @property
    def types(self) -> dict[str, FieldType]:
        """The type of each field, in order."""
        return {each.name: each.type for each in self.fields}

    def field(self, name: str) -> Field | None:
        """The field of that name, if there is one."""
        return next((each for each in self.fields if each.name == name), None)

    def complete(self, given: Row) -> Row:
        """A row to insert: what was given, else the defaults, and a new key where we make it."""
        row: Row = {}
        if not self.generates_key:
            row["id"] = given.get("id") or uuid4().hex
        for each in self.writable:
            row[each.name] = given[each.name] if each.name in given else each.default_value()
        return row
