"""Reads a DataFlow instance into model descriptions; refuses what can't be served safely."""

from __future__ import annotations

import enum
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Protocol

from pydantic import StringConstraints, TypeAdapter
from pydantic_core import SchemaError

from kailash_mcp_prod.errors import ModelError
from kailash_mcp_prod.records.annotations import field_type_of
from kailash_mcp_prod.records.model import NO_CONSTRAINTS, Constraints, Field, Model
from kailash_mcp_prod.records.options import other_options
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
_MAX_NAME = 63
DECLARED_TYPE = "declared_type"
"""Where a field that DataFlow was told another type for keeps the one that the model declares."""
_TENANT = "tenant_id"
_OWN_TABLES = "mcp_"
_TOMBSTONE = "deleted_at"
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
    table = str(info["table_name"])
    for what, identifier in (("name", name), ("table", table)):
        _check_identifier(name, what, identifier)
    if table.lower().startswith(_OWN_TABLES):
        raise ModelError(
            f"Model {name}: tables named {_OWN_TABLES}… hold the server's own state. Set another "
            "__tablename__."
        )
    summary, descriptions = parse_docstring(inspect.getdoc(model_class) or "")
    soft_delete = bool(options.get("soft_delete"))
    declared = _declared_fields(db, name)
    tenant = None
    if options.get("multi_tenant") or _is_multi_tenant(db):
        tenant = _tenant(name, declared.pop(_TENANT, None))
    if soft_delete:
        declared.pop(_TOMBSTONE, None)
    hidden = ({_TENANT} if tenant else set()) | ({_TOMBSTONE} if soft_delete else set())
    fields = _fields(name, model_class, declared, descriptions)
    indexes, unique = _indexes(name, table, options, {each.name for each in fields} | hidden)
    indexed = {column for columns in indexes.values() for column in columns}
    fields = tuple(_bounded(each) if each.name in indexed else each for each in fields)
    return Model(
        name=name,
        table=table,
        description=summary or f"{_spaced(name)} records.",
        fields=fields,
        unique_keys=_unique_keys(unique.values(), hidden),
        unique_indexes=unique,
        append_only=bool(info.get("append_only")),
        soft_delete=soft_delete,
        indexes=indexes,
        tenant=tenant,
        other_options=other_options(db, name, options),
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


def _declared_fields(db: DataFlowLike, model: str) -> dict[str, dict[str, Any]]:
    declared = dict(db.get_model_fields(model))
    declared.setdefault("id", {"type": int, "required": False})
    return declared


def _tenant(model: str, spec: Mapping[str, Any] | None) -> Field:
    if spec is not None and _field_type(model, _TENANT, spec).kind is not Kind.TEXT:
        raise ModelError(f"Model {model}, field {_TENANT}: the tenant must be a str.")
    return Field(
        _TENANT,
        FieldType(Kind.TEXT),
        f"Tenant to whom the {_spaced(model)} belongs.",
        required=True,
        read_only=True,
    )


def _fields(
    model: str,
    model_class: type,
    declared: Mapping[str, dict[str, Any]],
    descriptions: Mapping[str, str],
) -> tuple[Field, ...]:
    rules: Mapping[str, Mapping[str, Any]] = getattr(model_class, "__validation__", None) or {}
    fields = [_key(model, declared["id"], descriptions)]
    for name, spec in declared.items():
        if name != "id" and name not in _TIMESTAMPS:
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
    field_type = _field_type(model, "id", spec)
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
    field_type = _field_type(model, name, spec)
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


def _field_type(model: str, name: str, spec: Mapping[str, Any]) -> FieldType:
    try:
        return field_type_of(spec.get(DECLARED_TYPE, spec["type"]))
    except TypeError as problem:
        raise ModelError(
            f"Model {model}, field {name}: {problem} can't be served. Supported: {_SUPPORTED}."
        ) from None


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


def _indexes(
    model: str, table: str, options: Mapping[str, Any], known: set[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The columns of the declared indexes by name: of all, and of the unique ones."""
    indexes: dict[str, tuple[str, ...]] = {}
    unique: dict[str, tuple[str, ...]] = {}
    for index in options.get("indexes") or ():
        columns = _columns(index)
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise ModelError(
                f"Model {model}: the index '{index.get('name')}' names unknown fields: "
                f"{', '.join(unknown)}."
            )
        if not columns:
            continue
        # DataFlow names an index by its first column, and PostgreSQL folds what isn't quoted.
        name = _fitting(str(index.get("name") or f"idx_{table}_{columns[0]}").lower())
        if name in indexes:
            name = _fitting("_".join((name, *columns)))
        _check_identifier(model, "index", name)
        indexes[name] = columns
        if index.get("unique"):
            unique[name] = columns
    return indexes, unique


def _fitting(name: str) -> str:
    """A name that PostgreSQL takes whole; it would cut a longer one off."""
    if len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _MAX_NAME - 9]}_{digest}"


def _unique_keys(
    indexes: Iterable[tuple[str, ...]], hidden: set[str]
) -> tuple[tuple[str, ...], ...]:
    """The sets of visible fields that tell the records of one caller from each other."""
    keys: dict[tuple[str, ...], None] = {("id",): None}
    for columns in indexes:
        key = tuple(column for column in columns if column != _TENANT or _TENANT not in hidden)
        if key and hidden.isdisjoint(key):
            keys[key] = None
    return tuple(keys)


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
