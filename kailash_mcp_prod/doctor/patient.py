"""What is examined: the settings as far as they can be read, however broken they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import variable_of
from kailash_mcp_prod.config_file import CONFIG_FILE_VARIABLE, read_settings
from kailash_mcp_prod.errors import ConfigError, StartupError

_ASKED: Final = ("host", "port", "models", "redis_url", "database_url")


@dataclass(frozen=True, slots=True)
class Patient:
    """A server that is to be, or that runs.

    Attributes:
        config: Its settings; where they are refused, those that can be read, and defaults.
        refusal: Why they are refused.
        file: The settings file.
        flags: What the command line says.
        url: The running server, instead of one to start.
        credential: With what it is asked.
    """

    config: ServerConfig
    refusal: str | None
    file: Path | None
    flags: Mapping[str, Any]
    url: str | None = None
    credential: str | None = None


def patient(
    flags: Mapping[str, Any],
    file: Path | None,
    *,
    url: str | None = None,
    credential: str | None = None,
) -> Patient:
    """Reads the settings.

    Args:
        flags: What the command line says.
        file: The settings file.
        url: A running server.
        credential: Its API key.
    """
    named = file or _file_of_environment()
    try:
        config, refusal = ServerConfig.load(flags, file), None
    except StartupError as problem:
        config, refusal = _legible(flags, named), str(problem)
    return Patient(config, refusal, named, flags, url, credential)


def _file_of_environment() -> Path | None:
    name = os.environ.get(CONFIG_FILE_VARIABLE)
    return Path(name) if name else None


def _legible(flags: Mapping[str, Any], file: Path | None) -> ServerConfig:
    """As much as can be read of settings that are refused."""
    with suppress(StartupError):
        # Most often it is the credentials that are wrong, and nobody is to be let in here.
        open_to_all = {"enable_auth": False, "transport": "stdio", "mode": "standalone"}
        return ServerConfig.load({**flags, **open_to_all}, file)
    known: dict[str, Any] = {}
    if file is not None:
        with suppress(ConfigError):
            known.update(read_settings(file))
    known.update(
        {key: os.environ[name] for key in _ASKED if (name := variable_of(key)) in os.environ}
    )
    known.update(flags)
    good: dict[str, Any] = {}
    for key in _ASKED:
        if known.get(key) not in (None, ""):
            with suppress(ValueError):
                kind: Any = ServerConfig.model_fields[key].annotation
                good[key] = TypeAdapter(kind).validate_python(known[key])
    return ServerConfig.model_construct(**good)
