"""What a workflow session is told when it is made: `session_config`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.sessions.steps_policy import OnError, parse_on_error

MAX_CONFIG_BYTES: Final = 64 * 1024
DEFAULT_TIMEOUT_MINUTES: Final = 24 * 60.0
MAX_TIMEOUT_MINUTES: Final = 30 * 24 * 60.0

_SETTINGS: Final = ("enable_caching", "on_error", "timeout_minutes", "variables")
_FIELD: Final = "session_config"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The settings of one session.

    `raw` is what was given. `variables` is what steps refer to as `{{session.…}}`.
    """

    raw: Mapping[str, Any] = field(default_factory=dict)
    enable_caching: bool = False
    timeout_minutes: float = DEFAULT_TIMEOUT_MINUTES
    on_error: OnError = field(default_factory=OnError)
    variables: Mapping[str, Any] = field(default_factory=dict)


def parse_session_config(given: Any) -> SessionConfig:
    """The configuration from its JSON; members that are no settings are variables of the session.

    Raises:
        InvalidArgumentsError: A setting is wrong, or a name looks like a misspelt one.
    """
    if not isinstance(given, Mapping):
        raise _wrong("", "use an object")
    text = canonical(given)
    if text is None:
        raise _wrong("", "use values that JSON has")
    if len(text) > MAX_CONFIG_BYTES:
        raise _wrong("", f"longer than {MAX_CONFIG_BYTES} bytes; keep data in records")
    variables = given.get("variables", {})
    if not isinstance(variables, Mapping):
        raise _wrong("variables", "use an object")
    rest = {name: value for name, value in given.items() if name not in _SETTINGS}
    for name in rest:
        if meant := difflib.get_close_matches(name, _SETTINGS, n=1, cutoff=0.8):
            raise _wrong(
                shown(name), f"unknown; did you mean {meant[0]}? Variables can stand in variables"
            )
    caching = given.get("enable_caching", False)
    if not isinstance(caching, bool):
        raise _wrong("enable_caching", "use true or false")
    minutes = given.get("timeout_minutes", DEFAULT_TIMEOUT_MINUTES)
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise _wrong("timeout_minutes", "use a number")
    if not 0 < minutes <= MAX_TIMEOUT_MINUTES:
        raise _wrong("timeout_minutes", f"use more than 0 and at most {MAX_TIMEOUT_MINUTES:g}")
    on_error = parse_on_error(given.get("on_error", "stop"), f"{_FIELD}.on_error")
    return SessionConfig(dict(given), caching, float(minutes), on_error, {**rest, **variables})


def _wrong(name: str, fix: str) -> InvalidArgumentsError:
    path = f"{_FIELD}.{name}" if name else _FIELD
    return InvalidArgumentsError(f"{path}: {fix}.", field=path)
