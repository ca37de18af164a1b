"""What a step is told to do: `step_config`, checked before anything runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.sessions.steps_policy import OnError, parse_on_error

FIELD: Final = "step_config"
MAX_PARTS: Final = 100
MAX_SECONDS: Final = 86_400
MAX_NESTING: Final = 3
MAX_NAME_LENGTH: Final = 100
MAX_CONFIG_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[^\s./\[\]{}~#]+")

# The members of each type, and other names that clients naturally give them.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "dataflow_operation": ("model", "operation", "parameters"),
    "tool": ("tool", "arguments"),
    "workflow": ("workflow", "inputs"),
    "parallel": ("steps", "max_concurrency"),
    "sequence": ("steps", "atomic"),
    "condition": ("condition", "then", "else"),
}
_CUSTOM: Final = ("parameters",)
_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "dataflow_operation": {"data": "parameters", "arguments": "parameters"},
    "tool": {"parameters": "arguments", "tool_name": "tool", "name": "tool"},
    "workflow": {
        "parameters": "inputs",
        "workflow_name": "workflow",
        "name": "workflow",
    },
    "condition": {"if": "condition", "then_steps": "then", "else_steps": "else"},
}
_COMMON: Final = (
    "type",
    "description",
    "on_error",
    "compensate",
    "enable_caching",
    "timeout_seconds",
    "repeat_interrupted",
)
COMPOUND: Final = frozenset({"parallel", "sequence", "condition"})


@dataclass(frozen=True, slots=True)
class StepConfig:
    """One step, checked as far as that can be done before it runs.

    `body` has the members of its type. `parts` are the steps inside it, by the member in which
    they stand. `field` says where the step stands in the arguments.
    """

    type: str
    body: Mapping[str, Any]
    field: str
    on_error: OnError | None = None
    compensate: Any = None
    enable_caching: bool | None = None
    timeout_seconds: float | None = None
    repeat_interrupted: bool = False
    parts: Mapping[str, Mapping[str, StepConfig]] = field_of(default_factory=dict)
    digest: str = ""

    @property
    def is_atomic(self) -> bool:
        """Whether its parts are done in one transaction."""
        return self.body.get("atomic") is True


def parse_step(given: Any, types: Collection[str], field: str = FIELD) -> StepConfig:
    """A step from its JSON.

    Args:
        given: The JSON.
        types: The custom types that there are.
        field: Where it stands in the arguments.

    Raises:
        InvalidArgumentsError: It is no step; the error names the member.
    """
    if isinstance(given, Mapping) and len(_canonical(given, field)) > MAX_CONFIG_BYTES:
        raise wrong(field, f"longer than {MAX_CONFIG_BYTES} bytes; split the step")
    config = _parse(given, types, field, 0)
    if _count(config) > MAX_PARTS:
        raise wrong(field, f"give at most {MAX_PARTS} steps, those inside of others counted")
    return config


def _count(config: StepConfig) -> int:
    """How many steps there are inside one."""
    parts = [part for each in config.parts.values() for part in each.values()]
    return len(parts) + sum(map(_count, parts))


def check_name(name: Any, field: str) -> str:
    """The name of a step.

    Raises:
        InvalidArgumentsError: It could not be referred to.
    """
    if (
        not isinstance(name, str)
        or len(name) > MAX_NAME_LENGTH
        or not name.isprintable()
        or not _NAME.fullmatch(name)
    ):
        raise wrong(
            field,
            f"use 1 to {MAX_NAME_LENGTH} characters without spaces, dots, slashes, #, ~, brackets "
            "and braces, so that other steps can refer to it",
        )
    return name


def wrong(field: str, fix: str, **details: Any) -> InvalidArgumentsError:
    """The error for a member of a step."""
    return InvalidArgumentsError(f"{field}: {fix}.", field=field, details=details or None)


def _parse(given: Any, types: Collection[str], field: str, depth: int) -> StepConfig:
    if not isinstance(given, Mapping):
        raise wrong(field, "use an object with type")
    kind = _type_of(given, types, field)
    aliases = _ALIASES.get(kind, {})
    members = _MEMBERS.get(kind, _CUSTOM)
    body: dict[str, Any] = {}
    for name, value in given.items():
        if name in _COMMON:
            continue
        meant = name if name in members else aliases.get(name, name)
        if meant not in members:
            known = [*members, *_COMMON]
            raise wrong(
                f"{field}.{shown(str(name))}",
                f"unknown for the type {kind}: remove it or mend its name",
                known_fields=known,
            )
        if meant in body:
            raise wrong(f"{field}.{name}", f"given twice, also as {meant}; give it once")
        body[meant] = value
    flags = {name: _flag(given, name, field) for name in ("enable_caching", "repeat_interrupted")}
    config = StepConfig(
        type=kind,
        body=body,
        field=field,
        on_error=(
            parse_on_error(given["on_error"], f"{field}.on_error") if "on_error" in given else None
        ),
        compensate=_compensation(given.get("compensate"), types, f"{field}.compensate"),
        enable_caching=flags["enable_caching"],
        timeout_seconds=_seconds(given.get("timeout_seconds"), f"{field}.timeout_seconds"),
        repeat_interrupted=flags["repeat_interrupted"] or False,
        parts=_parts(kind, body, types, field, depth),
        digest=_digest(given, field),
    )
    _check_body(config)
    return config


def _type_of(given: Mapping[str, Any], types: Collection[str], field: str) -> str:
    kind = given.get("type")
    if kind is None:
        kind = next((each for each, has in _IMPLIED if has in given), None)
    if kind == "atomic":
        kind = "sequence"
    known = [*_MEMBERS, *types]
    if not isinstance(kind, str) or kind not in known:
        raise wrong(f"{field}.type", f"use one of {', '.join(known)}", choices=known)
    return kind


_IMPLIED: Final = (
    ("sequence", "atomic"),
    ("dataflow_operation", "model"),
    ("tool", "tool"),
    ("workflow", "workflow"),
    ("condition", "condition"),
)


def _check_body(config: StepConfig) -> None:
    kind, body, field = config.type, config.body, config.field
    texts = {"dataflow_operation": ("model", "operation"), "tool": ("tool",)}
    for name in (*texts.get(kind, ()), *(("workflow",) if kind == "workflow" else ())):
        if not isinstance(body.get(name), str) or not body[name]:
            raise wrong(f"{field}.{name}", "use text; this is required")
    for name in ("parameters", "arguments", "inputs"):
        if not isinstance(body.get(name, {}), Mapping):
            raise wrong(f"{field}.{name}", "use an object")
    if kind == "condition" and "condition" not in body:
        raise wrong(f"{field}.condition", "this is required")
    most = body.get("max_concurrency", 1)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise wrong(f"{field}.max_concurrency", "use a whole number from 1")
    if not isinstance(body.get("atomic", False), bool):
        raise wrong(f"{field}.atomic", "use true or false")
    if config.is_atomic:
        for name, each in config.parts["steps"].items():
            if each.type != "dataflow_operation":
                raise wrong(
                    f"{each.field}.type",
                    f"the step {name} is no dataflow_operation, and only those can share a "
                    "transaction",
                )
            if each.on_error is not None or each.timeout_seconds is not None:
                raise wrong(each.field, "on_error and timeout_seconds are for the whole list")


def _parts(
    kind: str, body: Mapping[str, Any], types: Collection[str], field: str, depth: int
) -> dict[str, dict[str, StepConfig]]:
    members = {"parallel": ("steps",), "sequence": ("steps",), "condition": ("then", "else")}
    found: dict[str, dict[str, StepConfig]] = {}
    for member in members.get(kind, ()):
        if member not in body:
            if member == "steps":
                raise wrong(f"{field}.steps", "this is required: a list of steps")
            found[member] = {}
            continue
        if depth + 1 >= MAX_NESTING:
            raise wrong(f"{field}.{member}", f"steps nest at most {MAX_NESTING} deep")
        found[member] = _list(body[member], types, f"{field}.{member}", depth + 1)
    names = [name for each in found.values() for name in each]
    if len(names) != len(set(names)):
        raise wrong(field, "then and else use the same name for a step; name each step once")
    return found


def _list(given: Any, types: Collection[str], field: str, depth: int) -> dict[str, StepConfig]:
    """Steps given as a list with names, as an object by name, or a single one."""
    if isinstance(given, Mapping) and "type" in given and not isinstance(given["type"], Mapping):
        given = [given]
    if isinstance(given, Mapping):
        pairs = [(name, each, f"{field}.{shown(str(name))}") for name, each in given.items()]
    elif isinstance(given, list):
        pairs = [_named(each, f"{field}[{place}]", place) for place, each in enumerate(given)]
    else:
        raise wrong(field, "use a list of steps")
    if not 1 <= len(pairs) <= MAX_PARTS:
        raise wrong(field, f"give 1 to {MAX_PARTS} steps")
    found: dict[str, StepConfig] = {}
    for name, each, where in pairs:
        if name in found:
            raise wrong(where, f"the name {shown(name)} is used twice; name each step once")
        found[check_name(name, f"{where}.step_name")] = _parse(each, types, where, depth)
    return found


def _named(given: Any, field: str, place: int) -> tuple[str, Any, str]:
    if not isinstance(given, Mapping):
        raise wrong(field, "use an object with step_name and type")
    own = "step_name" if "step_name" in given else "name"
    name = given.get(own, f"step_{place + 1}")
    rest = {key: value for key, value in given.items() if key != own}
    if "step_config" in rest:
        if len(rest) > 1:
            raise wrong(field, "beside step_name and step_config there is nothing")
        return name, rest["step_config"], f"{field}.step_config"
    return name, rest, field


def _compensation(given: Any, types: Collection[str], field: str) -> Any:
    if given is None:
        return None
    each = _parse(given, types, field, MAX_NESTING)
    if each.type in COMPOUND or each.type == "workflow" or each.compensate is not None:
        raise wrong(field, "use one step of the type dataflow_operation, tool or a custom one")
    return given


def _flag(given: Mapping[str, Any], name: str, field: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(f"{field}.{name}", "use true or false")
    return value


def _seconds(value: Any, field: str) -> float | None:
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value <= MAX_SECONDS
    ):
        raise wrong(field, f"use a number of seconds above 0 and at most {MAX_SECONDS}")
    return float(value)


def _digest(given: Mapping[str, Any], field: str) -> str:
    meant = {name: value for name, value in given.items() if name != "repeat_interrupted"}
    return hashlib.sha256(_canonical(meant, field)).hexdigest()


def _canonical(given: Mapping[str, Any], field: str) -> bytes:
    text = canonical(given)
    if text is None:
        raise wrong(field, "use values that JSON has")
    return text
