"""Models as they stand in a manifest, and back."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgspec

from kailash_mcp_prod.records.model import Constraints, Field, Model
from kailash_mcp_prod.records.named_checks import NamedCheck, is_named_check
from kailash_mcp_prod.records.types import FieldType

_PLAIN = (type(None), str, int, float, bool)


class NotStorableError(Exception):
    """Something can't be written down faithfully; the message says what."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of all entries: unknown members and wrong types make a manifest unreadable."""


class ConstraintsEntry(Entry, frozen=True):
    """`Constraints`, with the checks by the names that DataFlow has for them."""

    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    pattern: str | None = None
    one_of: tuple[str | int | float | bool | None, ...] = ()
    checks: tuple[str, ...] = ()


class FieldEntry(Entry, frozen=True):
    """A `Field`, with its default in the form that results have."""

    name: str
    type: FieldType
    description: str
    required: bool
    default: Any = None
    read_only: bool = False
    constraints: ConstraintsEntry = ConstraintsEntry()


class ModelEntry(Entry, frozen=True):
    """A `Model` that needs none of DataFlow's other options."""

    name: str
    table: str
    description: str
    fields: tuple[FieldEntry, ...]
    unique_keys: tuple[tuple[str, ...], ...]
    unique_indexes: dict[str, tuple[str, ...]]
    append_only: bool
    soft_delete: bool
    indexes: dict[str, tuple[str, ...]]
    tenant: FieldEntry | None = None


def entry_of(model: Model) -> ModelEntry:
    """The entry of a model.

    Raises:
        NotStorableError: Read back, the model would not be the same.
    """
    if model.other_options:
        raise NotStorableError(f"{model.name} uses {', '.join(model.other_options)}")
    entry = ModelEntry(
        name=model.name,
        table=model.table,
        description=model.description,
        fields=tuple(_field_entry(model, each) for each in model.fields),
        unique_keys=model.unique_keys,
        unique_indexes=model.unique_indexes,
        append_only=model.append_only,
        soft_delete=model.soft_delete,
        indexes=model.indexes,
        tenant=None if model.tenant is None else _field_entry(model, model.tenant),
    )
    try:
        again = model_of(msgspec.json.decode(msgspec.json.encode(entry), type=ModelEntry))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as problem:
        raise NotStorableError(f"{model.name} has values that JSON has no form for") from problem
    # Not by equality, for which 1, 1.0 and True are the same.
    if repr(_without_checks(again)) != repr(_without_checks(model)):
        raise NotStorableError(f"{model.name} would not be the same when read back")
    return entry


def model_of(entry: ModelEntry) -> Model:
    """The model of an entry.

    Raises:
        ValueError: A default is not of its field's type.
    """
    return Model(
        name=entry.name,
        table=entry.table,
        description=entry.description,
        fields=tuple(_field_of(each) for each in entry.fields),
        unique_keys=entry.unique_keys,
        unique_indexes=entry.unique_indexes,
        append_only=entry.append_only,
        soft_delete=entry.soft_delete,
        indexes=entry.indexes,
        tenant=None if entry.tenant is None else _field_of(entry.tenant),
    )


def _field_entry(model: Model, field: Field) -> FieldEntry:
    where = f"{model.name}.{field.name}"
    if callable(field.default):
        raise NotStorableError(f"the default of {where} is a function")
    given = field.constraints
    bounds = (given.minimum, given.maximum)
    if not all(type(each) in _PLAIN for each in (*bounds, *given.one_of)):
        raise NotStorableError(f"the constraints of {where} are no JSON values")
    for name, check in given.checks:
        if not is_named_check(name, check):
            raise NotStorableError(f"the validator {name} of {where} is a function")
    try:
        default = field.type.to_json(field.default)
    except (ValueError, TypeError, AttributeError) as problem:
        raise NotStorableError(f"the default of {where} is not of its type") from problem
    values = {
        each.name: getattr(given, each.name) for each in fields(given) if each.name != "checks"
    }
    return FieldEntry(
        name=field.name,
        type=field.type,
        description=field.description,
        required=field.required,
        default=default,
        read_only=field.read_only,
        constraints=ConstraintsEntry(**values, checks=tuple(name for name, _ in given.checks)),
    )


def _field_of(entry: FieldEntry) -> Field:
    known = entry.constraints
    values = {each: getattr(known, each) for each in known.__struct_fields__ if each != "checks"}
    checks = tuple((name, NamedCheck(name)) for name in known.checks)
    return Field(
        name=entry.name,
        type=entry.type,
        description=entry.description,
        required=entry.required,
        default=entry.type.from_json(entry.default),
        read_only=entry.read_only,
        constraints=Constraints(**values, checks=checks),
    )


def _without_checks(model: Model) -> Model:
    return replace(
        model,
        fields=tuple(
            replace(each, constraints=replace(each.constraints, checks=())) for each in model.fields
        ),
    )
