"""Every setting as a list to show: its key, variable, default and meaning, and if it is secret."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic_core import to_jsonable_python

from kailash_mcp_prod.config import ENV_PREFIX, ServerConfig

# On the command line a secret is there for every user of the machine to see.
SECRET_KEYS: Final = frozenset(
    {
        *("api_key", "api_keys", "bearer_tokens", "cursor_secret", "introspection_client_secret"),
        *("jwt_secret", "token", "audit_former_secrets"),
    }
)
"""The settings without a flag, whose values are never shown."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        key: Its name in a file.
        variable: Its environment variable.
        default: Its default, as JSON has it.
        description: What it is for.
        secret: Whether its value must not be seen.
        section: What it and its neighbours are about.
    """

    key: str
    variable: str
    default: Any
    description: str
    secret: bool
    section: str

    @property
    def flag(self) -> str | None:
        """Its flag of `serve`; secrets have none."""
        return None if self.secret else f"--{self.key.replace('_', '-')}"


@cache
def all_settings() -> tuple[Setting, ...]:
    """The settings, in the order of `ServerConfig`."""
    sections = {
        key: (inspect.getdoc(part) or "").partition("\n")[0]
        for part in ServerConfig.__mro__[1:]
        for key in inspect.get_annotations(part)
        if key in ServerConfig.model_fields
    }
    return tuple(
        Setting(
            key=key,
            variable=variable_of(key),
            default=to_jsonable_python(field.get_default(call_default_factory=True)),
            description=field.description or "",
            secret=key in SECRET_KEYS,
            section=sections[key],
        )
        for key, field in ServerConfig.model_fields.items()
    )


def variable_of(key: str) -> str:
    """The environment variable of a setting; a few have the name that they have everywhere."""
    named = ServerConfig.model_fields[key].validation_alias is not None
    return key.upper() if named else f"{ENV_PREFIX}{key.upper()}"
