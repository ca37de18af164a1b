"""The command `init`: writes a starter application."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command("init")
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; it is made if it is missing.")
    ] = Path(),
    env: Annotated[
        bool, typer.Option("--env", help="Write .env too, with new secrets, for you alone to read.")
    ] = False,
) -> None:
    """Write a starter application that runs: models, settings, and the configuration of clients.

    Nothing is overwritten: if one of the files is there already, none is written.

    Example: kailash-mcp-prod init shop
    """
    from kailash_mcp_prod.starter import starter_files, write_new
    from kailash_mcp_prod.starter.files_of import ENVIRONMENT_FILE

    files = starter_files(directory, _python(), environment=env)
    # A module of that name would no longer be found beside the package.
    write_new(
        directory, files, private=frozenset({ENVIRONMENT_FILE}), absent=frozenset({"models.py"})
    )
    for name in files:
        typer.echo(f"wrote {directory / name}")
    typer.echo(
        f"Next: cd {shlex.quote(str(directory.resolve()))} && "
        "kailash-mcp-prod serve --mode development, and see README.md.",
        err=True,
    )


def _python() -> str:
    """This interpreter, by a name that clients take: LLMAgentNode takes no `python3.11`."""
    plain = Path(sys.executable).with_name("python")
    return str(plain) if plain.is_file() else sys.executable
