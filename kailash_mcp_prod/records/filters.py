"""Parses the `filter` and `sort` arguments: allow-listed names, typed values, bounded size."""

from __future__ import annotations

import re
from typing import Any

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.query import (
    EVERYTHING,
    All,
    AnyOf,
    Comparison,
    Condition,
    Negation,
    Sort,
)
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, ORDERED_KINDS, Kind
from kailash_mcp_prod.records.values import parse_value

MAX_DEPTH = 5
MAX_COMPARISONS = 50
MAX_LIST_VALUES = 500
# DataFlow's cost grows with the square of this: 1,000 values take some 50 ms, 10,000 seconds.
MAX_LISTED_VALUES = 1_000
MAX_SORT_FIELDS = 5
MAX_PATTERN_LENGTH = 1_000
# Databases compare each place of a text with all of a pattern, and can't be stopped meanwhile.
MAX_WILDCARD_PATTERNS_LENGTH = 250

# An odd number of backslashes: the last one has nothing to escape, which PostgreSQL refuses.
_ESCAPE_AT_END = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")

_EQUALITY = ("$eq", "$ne", "$in", "$nin")
_ORDER = ("$gt", "$gte", "$lt", "$lte")
_PATTERN = ("$like", "$ilike", "$contains")
COMBINATORS = ("$and", "$or", "$not")
OPERATORS = (*_EQUALITY, *_ORDER, *_PATTERN, "$null")


def operators_for(kind: Kind) -> tuple[str, ...]:
    """The operators that have a meaning for values of a kind."""
    return (
        *(_EQUALITY if kind in COMPARABLE_KINDS else ()),
        *(_ORDER if kind in ORDERED_KINDS else ()),
        *(_PATTERN if kind is Kind.TEXT else ()),
        "$null",
    )


def parse_filter(model: Model, raw: Any, path: str = "filter") -> Condition:
    """The condition that a `filter` argument asks for; an absent or empty one selects all.

    Args:
        model: The model whose fields may be named.
        raw: `{field: value}`, `{field: {"$op": value}}`, `$and`/`$or` with lists, `$not`.
        path: Where the argument stands, for messages.

    Raises:
        InvalidArgumentsError: A name, operator or value is not allowed, or it is too large.
    """
    if raw is None:
        return EVERYTHING
    return _Parser(model).parse(raw, path, depth=1)


def parse_sort(model: Model, raw: list[str] | None, path: str = "sort") -> tuple[Sort, ...]:
    """The sort order that a `sort` argument asks for, made total by the key.

    Args:
        model: The model whose fields may be named.
        raw: Field names, with a leading `-` for descending.
        path: Where the argument stands, for messages.

    Raises:
        InvalidArgumentsError: A name is unknown, not sortable or named twice.
    """
    order: list[Sort] = []
    for position, text in enumerate(raw or []):
        where = f"{path}[{position}]"
        name = text.removeprefix("-")
        field = _known_field(model, name, where)
        if field.type.kind not in COMPARABLE_KINDS:
            raise InvalidArgumentsError(
                f"'{name}' holds {field.type.kind} values, which have no order. "
                "Sort by another field.",
                field=where,
            )
        if any(each.field.name == name for each in order):
            raise InvalidArgumentsError(f"'{name}' is named twice. Name it once.", field=where)
        order.append(Sort(field, descending=text.startswith("-")))
    if len(order) > MAX_SORT_FIELDS:
        raise InvalidArgumentsError(f"Sort by at most {MAX_SORT_FIELDS} fields.", field=path)
    if not any(each.field is model.key for each in order):
        order.append(Sort(model.key))
    return tuple(order)


def _known_field(model: Model, name: str, path: str) -> Field:
    field = model.field(name)
    if field is None:
        known = [each.name for each in model.fields]
        raise InvalidArgumentsError(
            f"{model.name} has no field '{shown(name)}'. Use one of: {', '.join(known)}.",
            field=path,
            details={"known_fields": known},
        )
    return field


class _Parser:
    """Parses one filter and counts its comparisons and listed values."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._comparisons = 0
        self._listed_values = 0
        self._pattern_length = 0

    def parse(self, raw: Any, path: str, *, depth: int) -> Condition:
        if not isinstance(raw, dict):
            raise InvalidArgumentsError(
                'Use an object such as {"name": "Acme"} or {"name": {"$like": "Ac%"}}.', field=path
            )
        if depth > MAX_DEPTH:
            raise InvalidArgumentsError(
                f"The filter is nested more than {MAX_DEPTH} deep. Use a flatter one.", field=path
            )
        if not raw and depth > 1:
            # It would be true of every record, and so may be the whole filter of a bulk write.
            raise InvalidArgumentsError(
                "The condition is empty. Name a field or leave the condition out.", field=path
            )
        parts: list[Condition] = []
        for name, value in raw.items():
            where = f"{path}.{shown(name)}"
            if name in {"$and", "$or"}:
                parts.append(self._combination(name, value, where, depth))
            elif name == "$not":
                parts.append(Negation(self.parse(value, where, depth=depth + 1)))
            elif name.startswith("$"):
                raise InvalidArgumentsError(
                    f"'{shown(name)}' is no operator here. Between conditions use one of: "
                    f"{', '.join(COMBINATORS)}.",
                    field=where,
                )
            else:
                parts.extend(self._field(name, value, where))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _combination(self, name: str, value: Any, path: str, depth: int) -> Condition:
        if not isinstance(value, list) or not value:
            raise InvalidArgumentsError(
                f"{name} takes a list of one or more conditions.", field=path
            )
        if len(value) > MAX_COMPARISONS:
            raise InvalidArgumentsError(
                f"{name} takes at most {MAX_COMPARISONS} conditions.", field=path
            )
        parts = tuple(
            self.parse(part, f"{path}[{position}]", depth=depth + 1)
            for position, part in enumerate(value)
        )
        return All(parts) if name == "$and" else AnyOf(parts)

    def _field(self, name: str, value: Any, path: str) -> list[Condition]:
        field = _known_field(self._model, name, path)
        if not isinstance(value, dict):
            return [self._comparison(field, "$eq", value, path)]
        if not value:
            raise InvalidArgumentsError(
                "The operator object is empty. Give an operator, such as "
                f'{{"{name}": {{"$null": false}}}}.',
                field=path,
            )
        return [
            self._comparison(field, operator, operand, f"{path}.{shown(operator)}")
            for operator, operand in value.items()
        ]

    def _comparison(self, field: Field, operator: str, value: Any, path: str) -> Condition:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise InvalidArgumentsError(
                f"The filter has more than {MAX_COMPARISONS} comparisons. "
                "Use $in for lists of values.",
                field=path,
            )
        if value is None and operator in {"$eq", "$ne"}:
            return Comparison(field, "$null", operator == "$eq")
        allowed = operators_for(field.type.kind)
        if operator not in allowed:
            raise InvalidArgumentsError(
                f"'{shown(operator)}' does not apply to '{field.name}', which holds "
                f"{field.type.kind} values. Use one of: {', '.join(allowed)}.",
                field=path,
            )
        return Comparison(field, operator, self._operand(field, operator, value, path))

    def _operand(self, field: Field, operator: str, value: Any, path: str) -> Any:
        if operator == "$null":
            if not isinstance(value, bool):
                raise InvalidArgumentsError("$null takes true or false.", field=path)
            return value
        if operator in {"$in", "$nin"}:
            if not isinstance(value, list) or len(value) > MAX_LIST_VALUES:
                raise InvalidArgumentsError(
                    f"{operator} takes a list of at most {MAX_LIST_VALUES} values.", field=path
                )
            self._listed_values += len(value)
            if self._listed_values > MAX_LISTED_VALUES:
                raise InvalidArgumentsError(
                    f"The lists of the filter hold more than {MAX_LISTED_VALUES} values together. "
                    "Split the call.",
                    field=path,
                )
            return [
                parse_value(field.type, each, f"{path}[{position}]")
                for position, each in enumerate(value)
            ]
        parsed = parse_value(field.type, value, path)
        if operator in _PATTERN and len(parsed) > MAX_PATTERN_LENGTH:
            raise InvalidArgumentsError(
                f"{operator} takes at most {MAX_PATTERN_LENGTH} characters.", field=path
            )
        if operator in {"$like", "$ilike"}:
            self._count_pattern(parsed, path)
        return parsed

    def _count_pattern(self, pattern: str, path: str) -> None:
        self._pattern_length += len(pattern)
        if self._pattern_length > MAX_WILDCARD_PATTERNS_LENGTH:
            raise InvalidArgumentsError(
                f"The patterns of $like and $ilike have more than {MAX_WILDCARD_PATTERNS_LENGTH} "
                "characters together. Use $contains for a longer text.",
                field=path,
            )
        if _ESCAPE_AT_END.search(pattern):
            raise InvalidArgumentsError(
                "The pattern ends with a single backslash. Write two for a backslash itself.",
                field=path,
            )
