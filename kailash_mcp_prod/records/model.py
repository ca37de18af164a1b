"""What the record layer knows of a model: values only, nothing of DataFlow."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

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

_IMMUTABLE = (type(None), str, int, float, bytes, Decimal, date, UUID)


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

    @property
    def may_be_null(self) -> bool:
        """Whether rows may hold a null; DataFlow's column is only NOT NULL without a default."""
        return not self.required and self.name != "id"

    def default_value(self) -> Any:
        """A fresh default: functions are called and collections copied."""
        if callable(self.default):
            return self.default()
        return copy.deepcopy(self.default)


_VARIANTS = "89ab"


def new_keys(count: int) -> list[str]:
    """Random UUIDs (RFC 9562, version 4), each as 32 hexadecimal digits.

    Put together by hand, because `uuid4` takes longer than to check the rest of a row.
    """
    random = os.urandom(16 * count).hex()
    keys = []
    for start in range(0, len(random), 32):
        digits = random[start : start + 32]
        variant = _VARIANTS[int(digits[16], 16) & 3]
        keys.append(f"{digits[:12]}4{digits[13:16]}{variant}{digits[17:]}")
    return keys


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its table, its fields in order (the key first) and its unique keys.

    `unique_keys` are sets of fields by which a caller may recognise a record; `unique_indexes`
    are the columns of the declared unique indexes by name, and `indexes` those of all declared
    ones. `tenant` is the hidden field that says whose a record is. `other_options` are the names
    of DataFlow's options that the model uses besides those below. A view (see `records.views`)
    has in `base` the model that it shows a part of.
    """

    name: str
    table: str
    description: str
    fields: tuple[Field, ...]
    unique_keys: tuple[tuple[str, ...], ...] = ()
    unique_indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    append_only: bool = False
    soft_delete: bool = False
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tenant: Field | None = None
    other_options: tuple[str, ...] = ()
    base: Model | None = None
    creatable: bool = True
    _by_name: dict[str, Field] = field(init=False, repr=False, compare=False)
    _types: dict[str, FieldType] = field(init=False, repr=False, compare=False)
    _blank: Row = field(init=False, repr=False, compare=False)
    _with_fresh_default: tuple[Field, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepares what every call asks for."""
        written = [each for each in self.fields[1:] if not each.read_only]
        key = [] if self.generates_key else [self.fields[0]]
        derived = {
            "_by_name": {each.name: each for each in self.fields},
            "_types": {each.name: each.type for each in self.fields},
            "_blank": {each.name: each.default for each in (*key, *written)},
            "_with_fresh_default": tuple(
                each
                for each in written
                if callable(each.default) or not isinstance(each.default, _IMMUTABLE)
            ),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def key(self) -> Field:
        """The primary key, always named `id`."""
        return self.fields[0]

    @property
    def generates_key(self) -> bool:
        """Whether the database makes the key: an integer one, never given by a caller."""
        return self.key.type.kind is Kind.INTEGER

    @property
    def whole(self) -> Model:
        """The model with all its fields."""
        return self.base or self

    @property
    def writable(self) -> tuple[Field, ...]:
        """The fields that a caller may set; without the key."""
        return tuple(each for each in self.fields[1:] if not each.read_only)

    @property
    def types(self) -> Mapping[str, FieldType]:
        """The type of each field, in order."""
        return self._types

    def field(self, name: str) -> Field | None:
        """The field of that name, if there is one."""
        return self._by_name.get(name)

    def complete(self, given: Row) -> Row:
        """A row to insert: what was given, else the defaults, and a new key where we make it."""
        return self.complete_all([given])[0]

    def complete_all(self, given: Sequence[Row]) -> list[Row]:
        """Rows to insert, each as `complete` makes it."""
        rows = [{**self._blank, **each} for each in given]
        for each in self._with_fresh_default:
            for some, row in zip(given, rows, strict=True):
                if each.name not in some:
                    row[each.name] = each.default_value()
        if not self.generates_key:
            keyless = [row for some, row in zip(given, rows, strict=True) if "id" not in some]
            for row, key in zip(keyless, new_keys(len(keyless)), strict=True):
                row["id"] = key
        return rows
