"""Which settings hold, and where each comes from; no secret is among what is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic_core import to_jsonable_python

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import Setting, all_settings
from kailash_mcp_prod.config_file import CONFIG_FILE_VARIABLE, read_settings
from kailash_mcp_prod.config_secrets import SECRETS_DIR_VARIABLE, SecretFiles
from kailash_mcp_prod.errors import ConfigError

MASK: Final = "***"
"""Stands for a secret that is set."""

_ADDRESSES: Final = frozenset(
    {
        *("database_url", "redis_url", "connect", "otlp_endpoint"),
        # These are refused with a password, but shown even so.
        *("introspection_url", "jwks_url", "resource_url"),
    }
)
_KEYS_OF_OTHERS: Final = frozenset({"jwt_public_key"})


class Source(StrEnum):
    """Where a value comes from; a later one goes before an earlier one."""

    DEFAULT = "default"
    MODE = "mode"
    FILE = "file"
    SECRETS = "file of a secret"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Effective:
    """The value of a setting that holds.

    Attributes:
        setting: The setting.
        value: Its value as JSON has it, masked where it is secret.
        source: Where it comes from.
    """

    setting: Setting
    value: Any
    source: Source


@dataclass(frozen=True, slots=True)
class Effectives:
    """All of them.

    Attributes:
        file: The settings file, if one is named.
        settings: Each setting; where they are refused, as they were given.
        problem: Why they are refused.
    """

    file: Path | None
    settings: tuple[Effective, ...]
    problem: str | None


def effective_settings(flags: Mapping[str, Any], file: Path | None) -> Effectives:
    """What a server would go by.

    Args:
        flags: What the command line says, by key.
        file: The settings file, instead of the one that the environment names.
    """
    named = file
    if named is None and (variable := os.environ.get(CONFIG_FILE_VARIABLE)):
        named = Path(variable)
    config: ServerConfig | None = None
    problem = None
    try:
        config = ServerConfig.load(flags, file)
    except ConfigError as refused:
        problem = str(refused)
    given = _given(flags, named)
    found = []
    for setting in all_settings():
        source, value = given.get(setting.key, (Source.DEFAULT, setting.default))
        if config is not None:
            value = getattr(config, setting.key)
            if source is Source.DEFAULT and to_jsonable_python(value) != setting.default:
                source = Source.MODE
        found.append(Effective(setting, _shown(setting, value), source))
    return Effectives(named, tuple(found), problem)


def _given(flags: Mapping[str, Any], file: Path | None) -> dict[str, tuple[Source, Any]]:
    """What was said for each key, where it goes before all else."""
    given: dict[str, tuple[Source, Any]] = {}
    if file is not None:
        try:
            settings = read_settings(file)
        except ConfigError:
            settings = {}
        given.update({key: (Source.FILE, value) for key, value in settings.items()})
    if directory := os.environ.get(SECRETS_DIR_VARIABLE):
        try:
            held = SecretFiles(ServerConfig, Path(directory))()
        except ConfigError:
            held = {}
        given.update({key: (Source.SECRETS, value) for key, value in held.items()})
    # Their case does not matter.
    environment = {name.upper(): value for name, value in os.environ.items() if value}
    for setting in all_settings():
        if setting.variable in environment:
            given[setting.key] = (Source.ENVIRONMENT, environment[setting.variable])
    given.update({key: (Source.OPTION, value) for key, value in flags.items()})
    return given


def _shown(setting: Setting, value: Any) -> Any:
    if value is None or value in ((), [], {}, ""):
        return to_jsonable_python(value)
    if setting.secret:
        return MASK
    if setting.key in _ADDRESSES:
        return masked_address(str(value))
    if setting.key in _KEYS_OF_OTHERS and "-----" in str(value):
        # Somebody may have taken the private one by mistake.
        return MASK
    return to_jsonable_python(value)


def masked_address(url: str) -> str:
    """An address without its user, password and parameters; nothing of it if that is not sure."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return MASK
    if parts.scheme == "sqlite":
        return url.partition("?")[0]
    # A password with a slash or a number sign ends up behind the host.
    if not parts.scheme or not host or "@" in parts.path + parts.query + parts.fragment:
        return MASK
    user = f"{MASK}@" if parts.username is not None or parts.password is not None else ""
    name = f"[{host}]" if ":" in host else host
    place = name if port is None else f"{name}:{port}"
    return f"{parts.scheme}://{user}{place}{parts.path}"
