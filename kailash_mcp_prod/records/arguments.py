"""The arguments of each operation: strict pydantic types, and their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, Field, Strict, WithJsonSchema
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records import model as records
from kailash_mcp_prod.records.aggregate_arguments import aggregate_arguments
from kailash_mcp_prod.records.cursors import MAX_CURSOR_LENGTH
from kailash_mcp_prod.records.filters import COMBINATORS, MAX_SORT_FIELDS, OPERATORS
from kailash_mcp_prod.records.forms import Form, FormError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.pacing import Steps, paced, straight
from kailash_mcp_prod.records.problems import UNKNOWN_NAME, describe_findings
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, FieldType
from kailash_mcp_prod.records.values import annotation_for

MAX_BULK_ROWS = 1_000
MAX_LIMIT = 1_000
DEFAULT_LIMIT = 20
MAX_OFFSET = 2**31 - 1


class ArgumentsModel:
    """Validates the arguments of one operation of one model.

    Args:
        model: The model.
        operation: The operation.

    Example:
        `ArgumentsModel(company, Operation.READ).validate({"id": "c1"})` gives `{"id": "c1"}`.
    """

    def __init__(self, model: Model, operation: Operation) -> None:
        self._model = model
        self._pages = operation is Operation.LIST
        self._forms = _forms(model, operation)
        self._only_form = next(iter(self._forms.values())) if len(self._forms) == 1 else None

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the arguments: one flat object."""
        schema = _merge([form.schema() for form in self._forms.values()])
        if self._pages:
            schema["dependentSchemas"] = {"cursor": {"not": {"required": ["offset"]}}}
        return schema

    def validate(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with their values in Python form; only those that were given.

        Raises:
            InvalidArgumentsError: They break the schema; the error names the field and the fix.
        """
        form = self._only_form or self._chosen_form(raw)
        if form.has_rows:
            return straight(self._validate_rows(form, raw))
        if self._pages and "cursor" in raw and "offset" in raw:
            raise InvalidArgumentsError(
                "cursor: give either cursor or offset, not both.", field="cursor"
            )
        try:
            return form.check(raw)
        except FormError as error:
            raise self._described(error) from None

    async def validate_paced(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The same for bulk writes: many rows are validated in short stretches.

        Raises:
            InvalidArgumentsError: As above.
        """
        form = self._only_form or self._chosen_form(raw)
        return await paced(self._validate_rows(form, raw))

    def _validate_rows(self, form: Form, raw: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        try:
            return (yield from form.check_in_steps(raw))
        except FormError as error:
            raise self._described(error) from None

    def _described(self, error: FormError) -> InvalidArgumentsError:
        return describe_findings(error.found, known=self._known_names(error.found))

    def _chosen_form(self, raw: Mapping[str, Any]) -> Form:
        by_filter = "filter" in raw
        if by_filter and "ids" in raw:
            raise InvalidArgumentsError("ids: give either ids or filter, not both.", field="ids")
        if by_filter and not raw["filter"]:
            raise InvalidArgumentsError(
                "filter: an empty filter would change every record. Name the records by a "
                "condition or by their ids.",
                field="filter",
            )
        return self._forms["filter" if by_filter else "ids"]

    def _known_names(self, found: list[ErrorDetails]) -> list[str]:
        unknown = [each["loc"] for each in found if each["type"] == UNKNOWN_NAME]
        if not unknown:
            return []
        if len(unknown[0]) == 1:
            return list(self.schema["properties"])
        if unknown[0][0] == "expected":
            return [each.name for each in self._model.fields]
        return [each.name for each in (self._model.key, *self._model.writable)]


def _forms(model: Model, operation: Operation) -> dict[str, Form]:
    key = annotation_for(model.key.type, model.key.constraints)
    record_id = _described(key, f"Key of the {model.name} record.")
    row: Any = None
    match operation:
        case Operation.CREATE:
            only = {"data": _described(_new_record(model), "The record to create.")}
        case Operation.READ:
            only = {"id": record_id, "fields": NotRequired[_fields(model)]}
        case Operation.UPDATE:
            only = {
                "id": record_id,
                "data": _described(
                    _changes(model), "The fields to change and their new values.", minProperties=1
                ),
                "expected": NotRequired[
                    _described(
                        _expected(model),
                        "Change the record only if these fields still hold these values.",
                    )
                ],
            }
        case Operation.DELETE:
            only = {"id": record_id}
        case Operation.LIST:
            only = _list_arguments(model)
        case Operation.COUNT:
            only = {"filter": NotRequired[_filter(model)]}
        case Operation.AGGREGATE:
            only = {"filter": NotRequired[_filter(model)], **aggregate_arguments(model)}
        case Operation.BULK_CREATE:
            row = _new_record(model)
            only = {"data": _rows("The records to create, all or none.")}
        case Operation.UPSERT:
            only = {
                "data": _described(_new_record(model), "The record to create or change."),
                "conflict_on": NotRequired[_conflict_on(model)],
            }
        case Operation.BULK_UPSERT:
            row = _new_record(model)
            only = {
                "data": _rows("The records to create or change, all or none."),
                "conflict_on": NotRequired[_conflict_on(model)],
            }
        case Operation.BULK_UPDATE:
            return _bulk_update_forms(model, record_id)
        case Operation.BULK_DELETE:
            return _bulk_delete_forms(model, key)
    return {"": Form(_object(f"{model.name}_{operation}", only), row)}


def _list_arguments(model: Model) -> dict[str, Any]:
    limit = Annotated[int, Strict(), Ge(1), Le(MAX_LIMIT)]
    offset = Annotated[int, Strict(), Ge(0), Le(MAX_OFFSET)]
    cursor = Annotated[str, Strict(), MaxLen(MAX_CURSOR_LENGTH)]
    return {
        "filter": NotRequired[_filter(model)],
        "sort": NotRequired[_sort(model)],
        "limit": NotRequired[
            _described(limit, "How many records to return at most.", default=DEFAULT_LIMIT)
        ],
        "cursor": NotRequired[
            _described(
                cursor, "next_cursor of the page before, with the same filter and sort. No offset."
            )
        ],
        "offset": NotRequired[_described(offset, "How many records to skip.", default=0)],
        "fields": NotRequired[_fields(model)],
        "include_total": NotRequired[
            _described(
                Annotated[bool, Strict()],
                "Also count all records that match the filter.",
                default=False,
            )
        ],
    }


def _bulk_update_forms(model: Model, record_id: Any) -> dict[str, Form]:
    row = _object(f"{model.name}_row", {"id": record_id, **_optional_fields(model)})
    rows = _rows("The changed fields of each record with its id, all or none.")
    changes = _described(_changes(model), "With filter: the fields to change in each record.")
    return {
        "ids": Form(_object(f"{model.name}_bulk_update", {"data": rows}), row),
        "filter": Form(
            _object(f"{model.name}_bulk_update_where", {"filter": _filter(model), "data": changes})
        ),
    }


def _bulk_delete_forms(model: Model, key: Any) -> dict[str, Form]:
    keys: Any = list.__class_getitem__(key)
    ids = Annotated[keys, Strict(), MinLen(1), MaxLen(MAX_BULK_ROWS)]
    described = _described(ids, "The keys of the records to delete, all or none.")
    return {
        "ids": Form(_object(f"{model.name}_bulk_delete", {"ids": described})),
        "filter": Form(_object(f"{model.name}_bulk_delete_where", {"filter": _filter(model)})),
    }


def _object(name: str, members: Mapping[str, Any]) -> Any:
    make: Any = TypedDict  # the members are only known at run time
    made = make(name, dict(members))
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    return made


def _described(annotation: Any, description: str, **schema: Any) -> Any:
    return Annotated[annotation, Field(description=description, json_schema_extra=schema or None)]


def _new_record(model: Model) -> Any:
    members: dict[str, Any] = {}
    if not model.generates_key:
        key = annotation_for(model.key.type, model.key.constraints)
        members["id"] = NotRequired[
            _described(key, f"{model.key.description} Made by the server when absent.")
        ]
    for field in model.writable:
        annotation = _value(field)
        members[field.name] = annotation if field.required else NotRequired[annotation]
    return _object(f"{model.name}_new", members)


def _changes(model: Model) -> Any:
    return Annotated[_object(f"{model.name}_changes", _optional_fields(model)), MinLen(1)]


def _optional_fields(model: Model) -> dict[str, Any]:
    return {field.name: NotRequired[_value(field, with_default=False)] for field in model.writable}


def _expected(model: Model) -> Any:
    members = {
        field.name: NotRequired[annotation_for(_nullable(field.type))] for field in model.fields
    }
    made = _object(f"{model.name}_expected", members)
    names = [field.name for field in model.fields]
    schema = {"type": "object", "minProperties": 1, "propertyNames": {"enum": names}}
    return Annotated[made, MinLen(1), WithJsonSchema(schema)]


def _nullable(field_type: FieldType) -> FieldType:
    return FieldType(field_type.kind, True, field_type.choices, field_type.item)


def _value(field: records.Field, *, with_default: bool = True) -> Any:
    annotation = annotation_for(field.type, field.constraints)
    if field.required or not with_default or callable(field.default) or field.default is None:
        return _described(annotation, field.description)
    return _described(annotation, field.description, default=field.type.to_json(field.default))


def _rows(description: str) -> Any:
    """A list whose elements are validated apart."""
    return _described(Annotated[list[Any], Strict(), MinLen(1), MaxLen(MAX_BULK_ROWS)], description)


def _fields(model: Model) -> Any:
    names: Any = Literal.__getitem__(tuple(field.name for field in model.fields))
    chosen: Any = list.__class_getitem__(names)
    return _described(
        Annotated[chosen, Strict(), MinLen(1), MaxLen(len(model.fields))],
        "The fields to return; all when absent.",
    )


def _sort(model: Model) -> Any:
    names = [field.name for field in model.fields if field.type.kind in COMPARABLE_KINDS]
    schema = {
        "type": "array",
        "items": {"type": "string", "pattern": f"^-?({'|'.join(names)})$"},
        "maxItems": MAX_SORT_FIELDS,
    }
    texts = list[Annotated[str, Strict()]]
    return _described(
        Annotated[texts, Strict(), WithJsonSchema(schema)],
        "Field names; a leading - sorts descending. Nulls come last, ties go by id.",
    )


def _filter(model: Model) -> Any:
    names = [*(field.name for field in model.fields), *COMBINATORS]
    schema = {"type": "object", "propertyNames": {"enum": names}}
    return _described(
        Annotated[dict[str, Any], Strict(), WithJsonSchema(schema)],
        f"{{field: value}} or {{field: {{operator: value}}}} with {' '.join(OPERATORS)}; "
        "$and and $or take lists, $not a condition.",
    )


def _conflict_on(model: Model) -> Any:
    keys = [
        list(unique)
        for unique in model.unique_keys
        if not (model.generates_key and unique == ("id",))
    ]
    schema = {"enum": keys}
    texts = list[Annotated[str, Strict()]]
    return _described(
        Annotated[texts, Strict(), WithJsonSchema(schema)],
        "The unique key by which an existing record is recognised.",
        default=keys[0],
    )


def _merge(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One object schema for an operation that names its records by id or by filter."""
    if len(schemas) == 1:
        return schemas[0]
    by_id, by_filter = schemas
    properties = {**by_filter["properties"], **by_id["properties"]}
    if "data" in by_filter["properties"]:
        # The fields stand in full in the rows already; twice would only cost tokens.
        changes = by_filter["properties"]["data"]["description"]
        properties["data"] = {
            "anyOf": [
                by_id["properties"]["data"],
                {"type": "object", "minProperties": 1, "description": changes},
            ]
        }
        choice: dict[str, Any] = {
            "required": ["data"],
            "if": {"required": ["filter"]},
            "then": {"properties": {"data": {"type": "object"}}},
            "else": {"properties": {"data": {"type": "array"}}},
        }
    else:
        # Exactly one of the two: some clients refuse a oneOf at the top.
        choice = {"minProperties": 1, "maxProperties": 1}
    return {"type": "object", "properties": properties, "additionalProperties": False, **choice}
