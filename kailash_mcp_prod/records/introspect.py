"""Reads a DataFlow instance into model descriptions; refuses what can't be served safely."""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin
from uuid import UUID

from pydantic import StringConstraints, TypeAdapter
from pydantic_core import SchemaError

from kailash_mcp_prod.errors import ModelError
from kailash_mcp_prod.records.model import NO_CONSTRAINTS, Constraints, Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
# DataFlow makes an integer column for a key of any other type.
_KEY_KINDS = frozenset({Kind.TEXT, Kind.INTEGER})

# DataFlow's nodes take these words as their own parameters or results.
_RESERVED_FIELDS = frozenset({"self", "database_url", "found"})
_TIMESTAMPS = {
    "created_at": "When the record was created.",
    "updated_at": "When the record was last changed.",
}
MAX_INDEXED_TEXT = 255
_SUPPORTED = (
    "str, int, float, bool, datetime, date, Decimal, UUID, Enum, Literal, dict, list, bytes, "
    "and Optional or typed collections of them"
)


class DataFlowLike(Protocol):
    """The part of DataFlow's public interface that introspection reads."""

    config: Any

    def list_models(self) -> list[str]:
        """The names of the registered models, in order of registration."""

    def get_model_fields(self, model_name: str) -> dict[str, dict[str, Any]]:
        """Per field its annotation, whether it is required, and its default."""

    def get_model_info(self, model_name: str) -> dict[str, Any]:
        """The class, the options and the table name of a model."""


def describe_models(db: DataFlowLike) -> tuple[Model, ...]:
    """All models of a DataFlow instance, in the order of their registration.

    Raises:
        ModelError: A model or field can't be served; the message names it and the reason.
    """
    return tuple(describe_model(db, name) for name in db.list_models())


def describe_model(db: DataFlowLike, name: str) -> Model:
    """One model of a DataFlow instance.

    Raises:
        ModelError: It can't be served; the message names the model, the field and the reason.
    """
    info = db.get_model_info(name)
    options: Mapping[str, Any] = info.get("config") or {}
    model_class: type = info["class"]
    if options.get("multi_tenant") or _is_multi_tenant(db):
        raise ModelError(
            f"Model {name}: multi_tenant models can't be served yet, because the tenant must come "
            "from the caller's credential. Leave the model out of the served DataFlow instance."
        )
    table = str(info["table_name"])
    for what, identifier in (("name", name), ("table", table)):
        _check_identifier(name, what, identifier)
    summary, descriptions = parse_docstring(inspect.getdoc(model_class) or "")
    soft_delete = bool(options.get("soft_delete"))
    fields = _fields(db, name, model_class, descriptions, soft_delete=soft_delete)
    unique_indexes = _unique_indexes(name, table, options, {each.name for each in fields})
    indexed = {column for index in options.get("indexes") or () for column in _columns(index)}
    fields = tuple(_bounded(each) if each.name in indexed else each for each in fields)
    return Model(
        name=name,
        table=table,
        description=summary or f"{_spaced(name)} records.",
        fields=fields,
        unique_keys=(("id",), *unique_indexes.values()),
        unique_indexes=unique_indexes,
        append_only=bool(info.get("append_only")),
        soft_delete=soft_delete,
    )


def _is_multi_tenant(db: DataFlowLike) -> bool:
    security = getattr(db.config, "security", None)
    return bool(getattr(security, "multi_tenant", False))


def _check_identifier(model: str, what: str, identifier: str) -> None:
    if not _IDENTIFIER.fullmatch(identifier):
        raise ModelError(
            f"Model {model}: the {what} '{identifier}' must be letters, digits and underscores, "
            "at most 63, and not begin with a digit."
        )


def _fields(
    db: DataFlowLike,
    model: str,
    model_class: type,
    descriptions: Mapping[str, str],
    *,
    soft_delete: bool,
) -> tuple[Field, ...]:
    declared = dict(db.get_model_fields(model))
    declared.setdefault("id", {"type": int, "required": False})
    rules: Mapping[str, Mapping[str, Any]] = getattr(model_class, "__validation__", None) or {}
    key = _key(model, declared.pop("id"), descriptions)
    fields = [key]
    for name, spec in declared.items():
        if name in _TIMESTAMPS or (name == "deleted_at" and soft_delete):
            continue
        fields.append(_field(model, name, spec, descriptions, rules.get(name, {})))
    fields.extend(
        Field(
            name,
            FieldType(Kind.DATETIME, nullable=True),
            descriptions.get(name, text),
            required=False,
            read_only=True,
        )
        for name, text in _TIMESTAMPS.items()
    )
    return tuple(fields)


def _key(model: str, spec: Mapping[str, Any], descriptions: Mapping[str, str]) -> Field:
    field_type = _field_type(model, "id", spec["type"])
    if field_type.kind not in _KEY_KINDS or field_type.nullable:
        raise ModelError(f"Model {model}, field id: the key must be a str or an int.")
    constraints = (
        Constraints(min_length=1, max_length=255)
        if field_type.kind is Kind.TEXT
        else NO_CONSTRAINTS
    )
    description = descriptions.get("id", f"Key of the {_spaced(model)} record.")
    return Field("id", field_type, description, required=False, constraints=constraints)


def _field(
    model: str,
    name: str,
    spec: Mapping[str, Any],
    descriptions: Mapping[str, str],
    rules: Mapping[str, Any],
) -> Field:
    _check_identifier(model, "field", name)
    if name in _RESERVED_FIELDS or name.startswith("_"):
        raise ModelError(
            f"Model {model}, field {name}: DataFlow uses this name itself. Rename the field."
        )
    field_type = _field_type(model, name, spec["type"])
    required = bool(spec.get("required", True))
    if required:
        # DataFlow's column is NOT NULL when there is no default, Optional or not.
        field_type = replace(field_type, nullable=False)
    default = spec.get("default")
    if not required and default is None and not field_type.nullable:
        raise ModelError(
            f"Model {model}, field {name}: the default is None, but the type is not Optional."
        )
    return Field(
        name=name,
        type=field_type,
        description=descriptions.get(
            name, f"{_spaced(name).capitalize()} of the {_spaced(model)}."
        ),
        required=required,
        default=_default(default),
        constraints=_constraints(model, name, rules),
    )


def _default(default: Any) -> Any:
    if isinstance(default, enum.Enum):
        return default.value
    return default


def _field_type(model: str, name: str, annotation: Any) -> FieldType:
    try:
        return field_type_of(annotation)
    except TypeError as problem:
        raise ModelError(
            f"Model {model}, field {name}: {problem} can't be served. Supported: {_SUPPORTED}."
        ) from None


_PLAIN_KINDS: dict[type, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    float: Kind.FLOAT,
    bool: Kind.BOOLEAN,
    datetime: Kind.DATETIME,
    date: Kind.DATE,
    Decimal: Kind.DECIMAL,
    UUID: Kind.UUID,
    dict: Kind.OBJECT,
    list: Kind.ARRAY,
    bytes: Kind.BYTES,
}


def field_type_of(annotation: Any) -> FieldType:
    """The field type of an annotation.

    Raises:
        TypeError: The annotation is not supported; the message shows it.

    Example:
        >>> field_type_of(list[Decimal] | None).item
        FieldType(kind=<Kind.DECIMAL: 'decimal'>, nullable=False, choices=(), item=None)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        others = [each for each in arguments if each is not type(None)]
        if len(others) == 1 and len(arguments) == 2:
            inner = field_type_of(others[0])
            return FieldType(inner.kind, nullable=True, choices=inner.choices, item=inner.item)
    elif origin is Literal:
        return _choice(annotation, arguments)
    elif origin is list and len(arguments) == 1:
        return FieldType(Kind.ARRAY, item=_item_type(arguments[0]))
    elif origin is dict and len(arguments) == 2 and arguments[0] is str:
        return FieldType(Kind.OBJECT, item=_item_type(arguments[1]))
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice(annotation, tuple(member.value for member in annotation))
    elif isinstance(annotation, type) and annotation in _PLAIN_KINDS:
        return FieldType(_PLAIN_KINDS[annotation])
    raise TypeError(f"the type {inspect.formatannotation(annotation)}")


def _item_type(annotation: Any) -> FieldType | None:
    return None if annotation is Any else field_type_of(annotation)


def _choice(annotation: Any, values: tuple[Any, ...]) -> FieldType:
    plain = all(isinstance(value, str | int) for value in values)
    if not plain or len({str(value) for value in values}) != len(values):
        raise TypeError(
            f"the type {inspect.formatannotation(annotation)} with members other than distinct "
            "texts and whole numbers"
        )
    return FieldType(Kind.CHOICE, choices=values)


def _constraints(model: str, field: str, rules: Mapping[str, Any]) -> Constraints:
    span = rules.get("range") or {}
    custom = [rules["custom"]] if rules.get("custom") else []
    checks = [_named_check(model, field, each) for each in (*rules.get("validators", ()), *custom)]
    return Constraints(
        min_length=rules.get("min_length"),
        max_length=rules.get("max_length"),
        minimum=span.get("min"),
        maximum=span.get("max"),
        pattern=_whole_pattern(model, field, rules.get("pattern")),
        one_of=tuple(rules.get("one_of", ())),
        checks=tuple(checks),
    )


def _whole_pattern(model: str, field: str, pattern: str | None) -> str | None:
    """A pattern for the whole text, as DataFlow means it; JSON Schema searches within the text."""
    if pattern is None:
        return None
    anchored = pattern.startswith("^") and pattern.endswith("$") and "|" not in pattern
    whole = pattern if anchored else f"^(?:{pattern})$"
    try:
        TypeAdapter(Annotated[str, StringConstraints(pattern=whole)])
    except SchemaError:
        raise ModelError(
            f"Model {model}, field {field}: the pattern '{pattern}' can't be served. Write it "
            "without look-around and back-references."
        ) from None
    return whole


def _named_check(model: str, field: str, validator: Any) -> tuple[str, Callable[[Any], bool]]:
    if callable(validator):
        return getattr(validator, "__name__", "validator"), validator
    from dataflow.validation.dsl import NAMED_VALIDATORS

    check = NAMED_VALIDATORS.get(validator)
    if check is None:
        raise ModelError(
            f"Model {model}, field {field}: unknown validator '{validator}'. "
            f"Use one of: {', '.join(NAMED_VALIDATORS)}."
        )
    return validator, check


def _columns(index: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(index.get("fields") or index.get("columns") or ())


def _bounded(field: Field) -> Field:
    """An indexed text with a bound: PostgreSQL refuses rows whose index entry exceeds 2.7 kB."""
    if field.type.kind is not Kind.TEXT or field.constraints.max_length is not None:
        return field
    return replace(field, constraints=replace(field.constraints, max_length=MAX_INDEXED_TEXT))


def _unique_indexes(
    model: str, table: str, options: Mapping[str, Any], known: set[str]
) -> dict[str, tuple[str, ...]]:
    indexes: dict[str, tuple[str, ...]] = {}
    for index in options.get("indexes") or ():
        columns = _columns(index)
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise ModelError(
                f"Model {model}: the index '{index.get('name')}' names unknown fields: "
                f"{', '.join(unknown)}."
            )
        if index.get("unique") and columns:
            # DataFlow names an index by its first column, and PostgreSQL folds what isn't quoted.
            name = str(index.get("name") or f"idx_{table}_{columns[0]}").lower()
            indexes["_".join((name, *columns)) if name in indexes else name] = columns
    return indexes


_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ATTRIBUTE = re.compile(r"\s{2,}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The summary of a docstring and the texts of its Google-style `Attributes:` section."""
    summary_lines: list[str] = []
    attributes: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() in {"Attributes:", "Fields:"}:
            break
        summary_lines.append(line.strip())
    current: str | None = None
    indent = 0
    for line in lines:
        if line.strip() and not line[0].isspace():
            break
        match = _ATTRIBUTE.fullmatch(line)
        depth = len(line) - len(line.lstrip())
        if match and (current is None or depth <= indent):
            current, indent = match.group(1), depth
            attributes[current] = match.group(2).strip()
        elif current and line.strip():
            attributes[current] = f"{attributes[current]} {line.strip()}".strip()
    summary = " ".join(summary_lines).split("  ")[0].strip()
    return summary, attributes


def _spaced(name: str) -> str:
    return (
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
        .replace("_", " ")
        .lower()
    )
