"""The commands `config show` and `config schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kailash_mcp_prod.cli_credentials import AsJson, print_json
from kailash_mcp_prod.cli_flags import flags_of, with_setting_flags
from kailash_mcp_prod.errors import ConfigError

if TYPE_CHECKING:
    from kailash_mcp_prod.config_sources import Effectives

app = typer.Typer(
    name="config",
    no_args_is_help=True,
    add_completion=False,
    help="Show the settings that hold, or the schema of a settings file.",
)

_KEY_WIDTH: Final = 35
_SOURCE_WIDTH: Final = 12


@app.command()
@with_setting_flags
def show(
    config: Path | None,
    no_auth: bool,
    *,
    as_json: AsJson = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Leave out what is at its default.")
    ] = False,
    **settings: Any,
) -> None:
    """Show every setting that holds, and where it comes from; secrets are masked.

    Sources: option, environment, file of a secret (MCP_SECRETS_DIR), file, mode, default; the first
    that says something holds. Give the flags of `serve` to see what they would change. Exit code 2:
    a server would refuse them.

    Example: kailash-mcp-prod config show --changed --config settings.jsonc
    """
    from kailash_mcp_prod.config_sources import Source, effective_settings

    found = effective_settings(flags_of(settings, no_auth=no_auth), config)
    shown = [each for each in found.settings if not (changed and each.source is Source.DEFAULT)]
    if as_json:
        print_json(
            {
                "file": None if found.file is None else str(found.file),
                "problem": found.problem,
                "settings": {
                    each.setting.key: {
                        "value": each.value,
                        "source": each.source,
                        "variable": each.setting.variable,
                    }
                    for each in shown
                },
            }
        )
    else:
        for each in shown:
            value = json.dumps(each.value, ensure_ascii=False)
            typer.echo(f"{each.setting.key:{_KEY_WIDTH}} {each.source:{_SOURCE_WIDTH}} {value}")
    _refuse(found, as_json=as_json)


def _refuse(found: Effectives, *, as_json: bool) -> None:
    if found.problem is None:
        return
    if as_json:
        raise typer.Exit(ConfigError.exit_code)
    raise ConfigError(found.problem)


@app.command()
def schema() -> None:
    """Print the JSON Schema (2020-12) of a settings file.

    Name it as "$schema" in the file, and editors complete keys and mark what is wrong.

    Example: kailash-mcp-prod config schema > settings.schema.json
    """
    from kailash_mcp_prod.config_schema import settings_schema

    print_json(settings_schema())
