"""The command `doctor`: finds what keeps a server from working."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from kailash_mcp_prod.cli_credentials import (
    AsJson,
    Config,
    Database,
    Models,
    print_json,
    require_endpoint,
)
from kailash_mcp_prod.cli_loop import run_until_told

if TYPE_CHECKING:
    from kailash_mcp_prod.doctor import Finding

app = typer.Typer(add_completion=False)

_COLOURS: Final = {
    "ok": typer.colors.GREEN,
    "skip": typer.colors.BRIGHT_BLACK,
    "warn": typer.colors.YELLOW,
    "fail": typer.colors.RED,
}
_WIDTH: Final = 16


@app.command("doctor")
def doctor(
    *,
    url: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(help="A running server, …/mcp, to ask instead of starting one."),
    ] = None,
    api_key_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds its API key.")
    ] = "MCP_API_KEY",
    timeout: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds that each check may take.")
    ] = 45,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Look at everything that a server needs, and say what to do about what is wrong.

    Settings, versions, extras, permissions, ports, database, Redis, clocks, and a real call over
    MCP of a server that is started on a free port with a database of its own: none of your data
    is touched. Exit code 1: something fails.

    Example: kailash-mcp-prod doctor --config settings.jsonc
    """
    credential = os.environ.get(api_key_env) or None
    if url is not None:
        require_endpoint(url, credential=bool(credential or os.environ.get("MCP_TOKEN")))
    given: dict[str, Any] = {"models": models, "database_url": database_url}
    flags = {name: value for name, value in given.items() if value is not None}

    async def examined() -> list[Finding]:
        from kailash_mcp_prod.doctor import examine
        from kailash_mcp_prod.doctor.patient import patient

        return await examine(patient(flags, config, url=url, credential=credential), timeout)

    found = run_until_told(examined())
    failed = any(each.status == "fail" for each in found)
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(each) for each in found]})
    else:
        _print(found)
    if failed:
        raise typer.Exit(1)


def _print(found: list[Finding]) -> None:
    for each in found:
        status = typer.style(f"{each.status:4}", fg=_COLOURS[each.status], bold=True)
        typer.echo(f"{status}  {each.check:{_WIDTH}}  {_indented(each.message)}")
        if each.fix is not None:
            typer.echo(f"{'':{_WIDTH + 8}}→ {_indented(each.fix)}")
    counts = [
        f"{number} {word}"
        for status, word in (("fail", "failed"), ("warn", "to look at"), ("ok", "well"))
        if (number := sum(each.status == status for each in found))
    ]
    typer.echo(", ".join(counts), err=True)


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * (_WIDTH + 8))
