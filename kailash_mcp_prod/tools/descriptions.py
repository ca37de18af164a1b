"""What agents read about record tools: titles, descriptions and an example of each."""

from __future__ import annotations

import json
import re
from typing import Any

from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.types import FieldType, Kind

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_TITLES = {
    Operation.CREATE: "Create {}",
    Operation.READ: "Read {}",
    Operation.UPDATE: "Update {}",
    Operation.DELETE: "Delete {}",
    Operation.LIST: "List {} records",
    Operation.BULK_CREATE: "Create many {} records",
    Operation.BULK_UPDATE: "Update many {} records",
    Operation.BULK_DELETE: "Delete many {} records",
    Operation.BULK_UPSERT: "Create or update many {} records",
    Operation.UPSERT: "Create or update {}",
    Operation.COUNT: "Count {} records",
    Operation.AGGREGATE: "Group and sum up {} records",
}

_SENTENCES = {
    Operation.CREATE: "Creates one {name} and returns it with its id and defaults. {summary}",
    Operation.READ: "Returns the {name} with this id. {summary}",
    Operation.UPDATE: "Changes the given fields of one {name} and returns it.",
    Operation.DELETE: "Deletes one {name}.",
    Operation.LIST: "Returns the {name} records that match a filter, a page at a time. {summary}",
    Operation.BULK_CREATE: "Creates up to 1,000 {name} records, all or none.",
    Operation.BULK_UPDATE: (
        "Changes up to 1,000 {name} records, all or none: each by its id, or all that match a "
        "filter in the same way."
    ),
    Operation.BULK_DELETE: "Deletes up to 1,000 {name} records, all or none, by id or filter.",
    Operation.BULK_UPSERT: (
        "Creates up to 1,000 {name} records or changes those with the same key, all or none."
    ),
    Operation.UPSERT: "Creates one {name}, or changes the one with the same key.",
    Operation.COUNT: "Counts the {name} records that match a filter.",
    Operation.AGGREGATE: (
        "Counts the {name} records that match a filter, all together or in groups with the same "
        "values of fields, with sums, averages, least and greatest values of other fields."
    ),
}


def title_of(model: Model, operation: Operation) -> str:
    """The title of a tool, such as `Create many quote records`."""
    words = _WORD_BOUNDARY.sub(" ", model.name).split()
    return _TITLES[operation].format(" ".join(w if w.isupper() else w.lower() for w in words))


def describe(model: Model, operation: Operation) -> str:
    """The description of a tool, with an example of its arguments on a line of its own."""
    sentence = _SENTENCES[operation].format(name=model.name, summary=model.description).strip()
    example = json.dumps(example_arguments(model, operation), ensure_ascii=False)
    return f"{sentence}\nExample: {example}"


_SUMMED_UP = frozenset({Operation.CREATE, Operation.LIST})


def describe_briefly(model: Model, operation: Operation) -> str:
    """What tool lists say: what the model is only where agents begin, an example only of a list."""
    summary = model.description if operation in _SUMMED_UP else ""
    sentence = _SENTENCES[operation].format(name=model.name, summary=summary).strip()
    if operation is not Operation.LIST:
        return sentence
    example = json.dumps(example_arguments(model, operation), ensure_ascii=False)
    return f"{sentence}\nExample: {example}"


def example_arguments(model: Model, operation: Operation) -> dict[str, Any]:
    """Valid arguments of an operation, as short as can be."""
    key = sample_value(model.key)
    record = {each.name: sample_value(each) for each in model.writable if each.required}
    if not record and model.writable:
        record = {model.writable[0].name: sample_value(model.writable[0])}
    telling = _telling_field(model)
    condition = (
        {telling.name: sample_value(telling)} if telling else {"created_at": {"$null": False}}
    )
    change = (
        condition if telling else {each.name: sample_value(each) for each in model.writable[:1]}
    )
    match operation:
        case Operation.CREATE | Operation.UPSERT:
            return {"data": record}
        case Operation.READ | Operation.DELETE:
            return {"id": key}
        case Operation.UPDATE:
            return {"id": key, "data": change}
        case Operation.LIST:
            return {"filter": condition, "sort": ["-created_at"], "limit": 5}
        case Operation.COUNT:
            return {"filter": condition}
        case Operation.AGGREGATE:
            group_by = [telling.name] if telling else ["created_at"]
            return {"group_by": group_by, "sort": ["-count"], "limit": 10}
        case Operation.BULK_CREATE | Operation.BULK_UPSERT:
            return {"data": [record]}
        case Operation.BULK_UPDATE:
            return {"data": [{"id": key, **change}]}
        case Operation.BULK_DELETE:
            return {"ids": [key]}


_TELLING_KINDS = (Kind.CHOICE, Kind.BOOLEAN, Kind.TEXT, Kind.INTEGER, Kind.DATE, Kind.DECIMAL)


def _telling_field(model: Model) -> Field | None:
    """The field whose value shows most, in a filter and as a change."""
    for kind in _TELLING_KINDS:
        for field in model.writable:
            if field.type.kind is kind and field.constraints.pattern is None:
                return field
    return None


_EXAMPLE_IN_TEXT = re.compile(
    r"(?:for example|such as|e\.g\.)\s+[\"'`]?([^\s\"'`,;]+)", re.IGNORECASE
)

_SAMPLES: dict[Kind, Any] = {
    Kind.INTEGER: 1,
    Kind.FLOAT: 0.5,
    Kind.BOOLEAN: True,
    Kind.DATETIME: "2026-03-01T09:30:00+00:00",
    Kind.DATE: "2026-03-01",
    Kind.DECIMAL: "19.90",
    Kind.UUID: "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    Kind.BYTES: "a2FpbGFzaA==",
}


def sample_value(field: Field) -> Any:
    """A value that the field can hold, as JSON."""
    rules = field.constraints
    if rules.one_of:
        return rules.one_of[0]
    if field.type.kind is Kind.TEXT:
        return _sample_text(field)
    if field.type.kind in {Kind.INTEGER, Kind.FLOAT}:
        return _sample_number(_SAMPLES[field.type.kind], rules.minimum, rules.maximum)
    return _sample_of(field.type)


def _sample_number(number: float, lowest: float | None, highest: float | None) -> float:
    if lowest is not None:
        number = max(number, lowest)
    return number if highest is None else min(number, highest)


def _sample_text(field: Field) -> str:
    rules = field.constraints
    quoted = _EXAMPLE_IN_TEXT.search(field.description)
    if quoted:
        return quoted.group(1).rstrip(".:)")
    if any(name == "email" for name, _ in rules.checks):
        return "info@example.com"
    if any(name == "url" for name, _ in rules.checks):
        return "https://example.com"
    text = "c1" if field.name == "id" else field.name.replace("_", " ").capitalize()
    return text.ljust(rules.min_length or 0, "x")[: rules.max_length or None]


def _sample_of(field_type: FieldType) -> Any:
    match field_type.kind:
        case Kind.CHOICE:
            return field_type.choices[0]
        case Kind.TEXT:
            return "text"
        case Kind.OBJECT:
            return {"key": _sample_of(field_type.item)} if field_type.item else {}
        case Kind.ARRAY:
            return [_sample_of(field_type.item)] if field_type.item else []
        case kind:
            return _SAMPLES[kind]
