"""The field type that an annotation of a model stands for."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

from kailash_mcp_prod.records.types import FieldType, Kind

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
