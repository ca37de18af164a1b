"""What a workflow takes: a JSON Schema for those who call it, and the check of their inputs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Optional, Protocol

from pydantic import ConfigDict, Field, PydanticUserError, create_model
from pydantic import ValidationError as PydanticValidationError

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.nexus.platform import RegisteredWorkflow
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.json_schema import compact
from kailash_mcp_prod.records.problems import describe_findings, findings_of, shown

log = get_logger(__name__)

_SHOWN_DEFAULTS: Final = frozenset({str, int, float, bool})
_OPEN: Final[dict[str, Any]] = {"type": "object"}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_TYPE_NAMES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_FIXES: Final = {
    "string": "use text",
    "integer": "use a whole number",
    "number": "use a number",
    "boolean": "use true or false",
    "object": "use an object",
    "array": "use an array",
    "null": "use null",
}


class Inputs(Protocol):
    """The inputs of one workflow."""

    @property
    def schema(self) -> dict[str, Any]:
        """Their JSON Schema."""

    @property
    def known(self) -> bool:
        """Whether anybody has said what they are."""

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values with which the workflow runs.

        Raises:
            InvalidArgumentsError: One of them is missing, unknown or wrong.
        """


def inputs_of(workflow: RegisteredWorkflow) -> Inputs:
    """What a workflow takes, by the function behind it or by what its metadata say."""
    if workflow.handler is not None:
        try:
            return HandlerInputs(workflow.handler)
        except (PydanticUserError, NameError, TypeError, AttributeError, RecursionError) as problem:
            # Such as an annotation that only its module can resolve.
            reason = type(problem).__name__
            log.warning("handler_inputs_unknown", workflow=workflow.name, reason=reason)
            return DeclaredInputs(None)
    return DeclaredInputs(_declared(workflow.metadata))


class HandlerInputs:
    """The parameters of a function, by its annotations.

    Args:
        handler: The function.

    Raises:
        PydanticUserError: An annotation is none that values can be held against.
        NameError: An annotation can't be resolved.
    """

    known: Final = True

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = typing.get_type_hints(handler, include_extras=True)
        fields: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        takes_others = False
        for name, parameter in inspect.signature(handler).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                takes_others = True
            elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                # By an alias, because names of fields may not be those of pydantic's methods.
                field = f"input_{len(fields)}"
                self._names[field] = name
                hint = hints.get(name, Any)
                if parameter.default is None and hint is not Any:
                    hint = Optional[hint]  # noqa: UP045 - made, not written
                fields[field] = (hint, _field(name, parameter.default))
        config = ConfigDict(
            extra="allow" if takes_others else "forbid", arbitrary_types_allowed=False
        )
        self._model = create_model("Inputs", __config__=config, **fields)
        self.schema: dict[str, Any] = compact(self._model.model_json_schema(by_alias=True))

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """See `Inputs.check`. What is left out stays so: the function has its own defaults."""
        try:
            checked = self._model.model_validate(dict(given))
        except PydanticValidationError as error:
            raise describe_findings(findings_of(error), known=list(self._names.values())) from None
        found = {
            name: getattr(checked, field)
            for field, name in self._names.items()
            if field in checked.model_fields_set
        }
        return {**(checked.model_extra or {}), **found}


class DeclaredInputs:
    """What the metadata of a workflow say; without anything, any inputs are taken.

    Args:
        schema: A JSON Schema of an object; only its top level is held against the inputs.
    """

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self.known = schema is not None
        self.schema: dict[str, Any] = dict(schema) if schema is not None else dict(_OPEN)
        self._properties: Mapping[str, Any] = self.schema.get("properties") or {}
        self._required: list[str] = list(self.schema.get("required") or ())
        self._closed = self.schema.get("additionalProperties") is False

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """See `Inputs.check`."""
        for name in self._required:
            if name not in given:
                raise InvalidArgumentsError(f"{name}: this argument is required.", field=name)
        for name, value in given.items():
            rule = self._properties.get(name)
            if rule is None and self._closed:
                raise InvalidArgumentsError(
                    f"{shown(name)}: unknown argument: remove it or mend its name.",
                    field=shown(name),
                    details={"known_fields": list(self._properties)},
                )
            _check_kind(name, value, rule)
        return dict(given)


def _check_kind(name: str, value: Any, rule: Any) -> None:
    kind = rule.get("type") if isinstance(rule, Mapping) else None
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    allowed = tuple(one for each in kinds for one in _KINDS.get(each, ()))
    if not allowed or any(each not in _KINDS for each in kinds):
        return
    is_flag = isinstance(value, bool)
    if not isinstance(value, allowed) or (is_flag and bool not in allowed):
        fix = _FIXES[kinds[0]]
        raise InvalidArgumentsError(f"{shown(name)}: {fix}.", field=shown(name))


def _declared(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema in `input_schema`, or one made of `inputs`, if either is of a form we know."""
    schema = metadata.get("input_schema")
    if isinstance(schema, Mapping) and schema.get("type", "object") == "object":
        return {"type": "object", **schema}
    inputs = metadata.get("inputs")
    if isinstance(inputs, Mapping):
        properties = {str(name): _property(each) for name, each in inputs.items()}
        required = [
            str(name)
            for name, each in inputs.items()
            if isinstance(each, Mapping) and each.get("required") is True
        ]
        return {"type": "object", "properties": properties, "required": required}
    if isinstance(inputs, list) and all(isinstance(each, str) for each in inputs):
        return {"type": "object", "properties": {name: {} for name in inputs}}
    return None


def _property(told: Any) -> dict[str, Any]:
    if isinstance(told, str):
        return {"type": _TYPE_NAMES.get(told, told)} if _is_kind(told) else {"description": told}
    if isinstance(told, Mapping):
        found = {key: value for key, value in told.items() if key != "required"}
        if _is_kind(found.get("type")):
            found["type"] = _TYPE_NAMES.get(found["type"], found["type"])
        return found
    return {}


def _is_kind(name: Any) -> bool:
    return isinstance(name, str) and (name in _KINDS or name in _TYPE_NAMES)


def _field(name: str, default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return Field(alias=name)
    if default is None or type(default) in _SHOWN_DEFAULTS:
        return Field(default=default, alias=name)
    # Not every default is a JSON value, and the function has its own.
    return Field(default_factory=lambda: default, alias=name)
