"""The flags that stand for settings: one for each, but for secrets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional, get_origin

import typer

from kailash_mcp_prod.cli_completion import completer_of
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import SECRET_KEYS


def with_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command one flag for each setting; values are checked by `ServerConfig`.

    Of its own parameters, those stay that are annotated for typer.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [
        *(each for each in own if get_origin(each.annotation) is Annotated),
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Optional[Path], typer.Option(help="JSON file with settings.")],  # noqa: UP045 - typer reads it
        ),
        inspect.Parameter(
            "no_auth",
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option("--no-auth", help="Same as --no-enable-auth.")],
        ),
    ]
    for name, field in ServerConfig.model_fields.items():
        if name in SECRET_KEYS:
            continue
        flag = name.replace("_", "-")
        switch = field.annotation is bool
        option = typer.Option(
            f"--{flag}/--no-{flag}" if switch else f"--{flag}",
            help=field.description,
            show_default=False,
            autocompletion=completer_of(name),
        )
        kind: Any = bool if switch else str
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[Optional[kind], option],  # noqa: UP045
            )
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def flags_of(settings: Mapping[str, Any], *, no_auth: bool) -> dict[str, Any]:
    """What the command line says, by key."""
    flags = {name: value for name, value in settings.items() if value is not None}
    return {**flags, "enable_auth": False} if no_auth else flags
