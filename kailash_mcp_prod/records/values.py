"""The pydantic form of field types: strict validation of JSON values, and their JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError

from kailash_mcp_prod.records.model import NO_CONSTRAINTS, Constraints
from kailash_mcp_prod.records.problems import describe_problems
from kailash_mcp_prod.records.types import MAX_JSON_INTEGER, FieldType, Kind

MAX_TEXT_LENGTH = 1_048_576
MAX_INTEGER = 2**31 - 1
MAX_FLOAT = 3.4028234663852886e38
MAX_JSON_DEPTH = 32

_TEXT_FORMATS: dict[Kind, dict[str, Any]] = {
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.UUID: {"type": "string", "format": "uuid"},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64"},
    Kind.DECIMAL: {"type": ["string", "number"], "format": "decimal"},
}


def annotation_for(field_type: FieldType, constraints: Constraints = NO_CONSTRAINTS) -> Any:
    """The annotation with which pydantic validates a JSON value and makes its Python form."""
    try:
        # What is equal may still differ: True and 1, 1 and 1.0.
        annotation = _known(replace(field_type, nullable=False), constraints, repr(constraints))
    except TypeError:  # a choice that has no hash
        annotation = _checked_annotation(field_type, constraints)
    return annotation | None if field_type.nullable else annotation


class _Read:
    """An annotation that pydantic reads once, though it stands in the forms of many tools."""

    def __init__(self, annotation: Any) -> None:
        self._schema = TypeAdapter(annotation).core_schema

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return self._schema


@lru_cache(maxsize=1024)
def _known(field_type: FieldType, constraints: Constraints, _told: str) -> Any:
    return Annotated[Any, _Read(_checked_annotation(field_type, constraints))]


def _checked_annotation(field_type: FieldType, constraints: Constraints) -> Any:
    annotation = _annotation(field_type, constraints)
    if field_type.kind is not Kind.TEXT and constraints.checks:
        checks = [AfterValidator(_checked(name, check)) for name, check in constraints.checks]
        annotation = Annotated[annotation, *checks]
    return annotation


def parse_value(field_type: FieldType, value: Any, path: str) -> Any:
    """One value in Python form, with no constraints but those of the type.

    Raises:
        InvalidArgumentsError: It is not of the type; `path` says where it stands.
    """
    try:
        kinds = tuple(map(type, field_type.choices))
        return _adapter(field_type.kind, field_type.choices, kinds).validate_python(value)
    except ValidationError as error:
        raise describe_problems(error, prefix=path) from None


@lru_cache(maxsize=1024)
def _adapter(kind: Kind, choices: tuple[Any, ...], _kinds: tuple[type, ...]) -> TypeAdapter[Any]:
    # The kinds of the choices tell True from 1, which are equal as keys of the cache.
    return TypeAdapter(_annotation(FieldType(kind, choices=choices), NO_CONSTRAINTS))


def _annotation(field_type: FieldType, constraints: Constraints) -> Any:
    kind = field_type.kind
    match kind:
        case Kind.TEXT:
            return _text(constraints)
        case Kind.INTEGER:
            bounds = _bounds(constraints, -MAX_INTEGER - 1, MAX_INTEGER)
            return Annotated[int, Strict(), *bounds, *_one_of(constraints)]
        case Kind.FLOAT:
            return Annotated[
                float,
                Strict(),
                AllowInfNan(False),
                *_bounds(constraints, -MAX_FLOAT, MAX_FLOAT),
                *_one_of(constraints),
                WithJsonSchema({"type": "number", **_bound_keywords(constraints)}),
            ]
        case Kind.BOOLEAN:
            return Annotated[bool, Strict()]
        case Kind.CHOICE:
            return Annotated[
                Any,
                BeforeValidator(_choice_validator(field_type.choices)),
                WithJsonSchema({"enum": list(field_type.choices)}),
            ]
        case Kind.OBJECT | Kind.ARRAY:
            return _collection(field_type, constraints)
        case _:
            return Annotated[
                Any,
                BeforeValidator(_parser(field_type)),
                *_bounds(constraints, None, None),
                *_one_of(constraints),
                WithJsonSchema({**_TEXT_FORMATS[kind], **_bound_keywords(constraints)}),
            ]


def _text(constraints: Constraints) -> Any:
    keywords = {
        "minLength": constraints.min_length,
        "maxLength": constraints.max_length,
        "pattern": constraints.pattern,
        "format": _named_format(constraints),
    }
    schema: dict[str, Any] = {
        "type": "string",
        **{keyword: value for keyword, value in keywords.items() if value},
    }
    if constraints.one_of:
        schema["enum"] = list(constraints.one_of)
    return Annotated[
        str,
        StringConstraints(
            strict=True,
            min_length=constraints.min_length,
            max_length=constraints.max_length or MAX_TEXT_LENGTH,
            pattern=constraints.pattern,
        ),
        AfterValidator(_storable_text),
        *_one_of(constraints),
        *[AfterValidator(_checked(name, check)) for name, check in constraints.checks],
        WithJsonSchema(schema),
    ]


_FIRST_PRINTABLE = 32
_ONE_LINE_CHECKS = frozenset({"email", "url", "uuid", "phone"})
_JSON_SCHEMA_FORMATS = {"email": "email", "url": "uri", "uuid": "uuid"}


def _named_format(constraints: Constraints) -> str | None:
    names = (_JSON_SCHEMA_FORMATS.get(name) for name, _ in constraints.checks)
    return next((name for name in names if name), None)


def _checked(name: str, check: Callable[[Any], bool]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        # DataFlow's are regular expressions, whose `$` lets a line break at the end pass.
        broken = name in _ONE_LINE_CHECKS and any(ord(each) < _FIRST_PRINTABLE for each in value)
        if broken or not check(value):
            raise PydanticCustomError("check", "the value is no valid {name}", {"name": name})
        return value

    return run


def _collection(field_type: FieldType, constraints: Constraints) -> Any:
    base: Any = list if field_type.kind is Kind.ARRAY else dict
    extras: list[Any] = []
    if constraints.min_length:
        extras.append(MinLen(constraints.min_length))
    if constraints.max_length:
        extras.append(MaxLen(constraints.max_length))
    if field_type.item is None:
        schema = {"type": "array" if base is list else "object"}
        return Annotated[
            base, Strict(), *extras, AfterValidator(_storable_json), WithJsonSchema(schema)
        ]
    item: Any = annotation_for(field_type.item)
    typed: Any = (
        list.__class_getitem__(item) if base is list else dict.__class_getitem__((str, item))
    )
    return Annotated[typed, Strict(), *extras, AfterValidator(_storable_keys)]


def _bounds(constraints: Constraints, lowest: float | None, highest: float | None) -> list[Any]:
    low = lowest if constraints.minimum is None else constraints.minimum
    high = highest if constraints.maximum is None else constraints.maximum
    return [*([] if low is None else [Ge(low)]), *([] if high is None else [Le(high)])]


def _bound_keywords(constraints: Constraints) -> dict[str, float]:
    keywords = {"minimum": constraints.minimum, "maximum": constraints.maximum}
    return {keyword: bound for keyword, bound in keywords.items() if bound is not None}


def _one_of(constraints: Constraints) -> list[Any]:
    allowed = constraints.one_of
    return [AfterValidator(_choice_validator(allowed))] if allowed else []


def _choice_validator(choices: tuple[Any, ...]) -> Any:
    def check(value: Any) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        raise PydanticCustomError(
            "choice", "use one of: {choices}", {"choices": ", ".join(map(repr, choices))}
        )

    return check


def _parser(field_type: FieldType) -> Any:
    from_json = field_type.parser

    def parse(value: Any) -> Any:
        try:
            return from_json(value)
        except ValueError as problem:
            raise PydanticCustomError(
                str(field_type.kind),
                "{problem}",
                {"problem": _NULL if value is None else str(problem) or "wrong value"},
            ) from None

    return parse


_NULL = "a value is required; null is not allowed"


def _storable_text(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("nul", "remove the NUL character: databases can't store it")
    return text


def _storable_keys(value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            _storable_unicode(key)
    return value


def _storable_json(value: Any) -> Any:
    # Level by level: most values are small, and a call for each would take most of the time.
    level = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise PydanticCustomError("depth", "the value is nested more than 32 deep")
        level = _collections_in(level)
    return value


def _collections_in(level: list[Any]) -> list[Any]:
    """The objects and arrays within objects and arrays, whose other values can be stored."""
    inner: list[Any] = []
    for collection in level:
        if type(collection) is dict:
            for key in collection:
                if type(key) is not str or not key.isascii() or "\x00" in key:
                    _storable_unicode(key)
            values: Iterable[Any] = collection.values()
        else:
            values = collection
        for value in values:
            # By type and not by `match`, which takes several times as long.
            kind = type(value)
            if kind is str:
                if not value.isascii() or "\x00" in value:
                    _storable_unicode(value)
            elif kind is dict or kind is list:
                inner.append(value)
            elif kind is not bool and value is not None:
                _storable_number(value)
    return inner


def _storable_number(value: Any) -> None:
    if type(value) is int:
        if abs(value) > MAX_JSON_INTEGER:
            raise PydanticCustomError("integer", "integers must fit in 64 bits")
    elif type(value) is not float:
        raise PydanticCustomError(
            "json", "use JSON values only, not {kind}", {"kind": _kind(value)}
        )
    elif not math.isfinite(value):
        raise PydanticCustomError("finite", "numbers must be finite")


def _storable_unicode(text: Any) -> None:
    if not isinstance(text, str):
        raise PydanticCustomError("key", "the keys of an object must be text")
    _storable_text(text)
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("unicode", "the text has a lone surrogate") from None


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "text"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return type(value).__name__
