"""The command `demo`: shows what a server can do, and whether it does it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, Optional

import typer

from kailash_mcp_prod.cli_credentials import AsJson, Models, print_json, require_endpoint, told
from kailash_mcp_prod.cli_loop import run_until_told
from kailash_mcp_prod.errors import ConfigError, StartupError

if TYPE_CHECKING:
    from kailash_mcp_prod.client import ToolClient
    from kailash_mcp_prod.demo import Result
    from kailash_mcp_prod.demo.fresh import Fresh

app = typer.Typer(add_completion=False)

_KEY_VARIABLE: Final = "MCP_API_KEY"
_PARTNER_VARIABLE: Final = "MCP_PARTNER_API_KEY"


class Mode(StrEnum):
    """The modes of `serve`."""

    STANDALONE = "standalone"
    DEVELOPMENT = "development"
    NEXUS = "nexus-integration"


@app.command("demo")
def demo(
    *,
    url: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(help="A running server, …/mcp; without it one is started, on its own data."),
    ] = None,
    api_key_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds the agent's API key.")
    ] = _KEY_VARIABLE,
    partner_key_env: Annotated[
        str, typer.Option(metavar="NAME", help="The variable that holds a second agent's key.")
    ] = _PARTNER_VARIABLE,
    mode: Annotated[Mode, typer.Option(help="The mode of the server that is started.")] = (
        Mode.STANDALONE
    ),
    models: Models = None,
    nexus: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The Nexus app of that mode, as module:attribute; else a small one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a server can do: sessions, tools, records, collaboration, workflows, health.

    Every step is a real call over MCP. What it makes, it deletes. Exit code 1: a step fails, and
    the report has the server's own words for why.

    Example: kailash-mcp-prod demo --mode development
    """
    where = Where(url, api_key_env, partner_key_env, mode, models, nexus)
    with told(as_json=as_json):
        _require_effect(where)
        results = _run(where, as_json=as_json)
    outcomes = {each.outcome for each in results}
    good = "failed" not in outcomes and "ok" in outcomes
    if as_json:
        print_json({"ok": good, "steps": [asdict(each) for each in results]})
    if not good:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Where:
    """The server that is shown, or how one is started."""

    url: str | None
    api_key_env: str
    partner_key_env: str
    mode: Mode
    models: str | None
    nexus: str | None


def _require_effect(where: Where) -> None:
    """Refuses options of which nobody would notice that they do nothing.

    Raises:
        ConfigError: There is one.
    """
    if where.url is not None:
        of_a_started_one = {
            "--mode": where.mode is not Mode.STANDALONE,
            "--models": where.models is not None,
            "--nexus": where.nexus is not None,
        }
        for option, given in of_a_started_one.items():
            if given:
                raise ConfigError(
                    f"{option} has no effect on a server that runs: leave out {option} or --url."
                )
        return
    of_a_running_one = {
        "--api-key-env": where.api_key_env != _KEY_VARIABLE,
        "--partner-key-env": where.partner_key_env != _PARTNER_VARIABLE,
    }
    for option, given in of_a_running_one.items():
        if given:
            raise ConfigError(
                f"{option} has no effect on a server that is started, which has keys of its own: "
                f"name a running one with --url, or leave out {option}."
            )
    if where.nexus is not None and where.mode is not Mode.NEXUS:
        raise ConfigError(
            f"--nexus has no effect in the mode {where.mode}: say --mode {Mode.NEXUS} too, or "
            "leave it out."
        )


async def _shown(where: Where, *, as_json: bool) -> list[Result]:
    from kailash_mcp_prod.demo.programme import programme
    from kailash_mcp_prod.demo.report import Report
    from kailash_mcp_prod.demo.running import run_steps
    from kailash_mcp_prod.demo.stage import open_stage

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_server(where, tell=not as_json))
        agent = await stack.enter_async_context(_client(server.url, server.key, token=True))
        partner = None
        if server.partner_key is not None:
            partner = await stack.enter_async_context(
                _client(server.url, server.partner_key, token=False)
            )
        stage = await open_stage(agent, partner)
        steps = programme(stage)
        if as_json:
            return await run_steps(stage, steps, begin=_say_nothing, end=_say_nothing)
        with Report(len(steps)) as report:
            results = await run_steps(stage, steps, begin=report.begin, end=report.end)
        report.sum_up(results)
        return results


@asynccontextmanager
async def _server(where: Where, *, tell: bool) -> AsyncIterator[Fresh]:
    """The server that is named, or one that is started."""
    from kailash_mcp_prod.demo.fresh import Fresh, fresh_server

    if where.url is not None:
        key, partner = (os.environ.get(name) or None for name in _variables(where))
        require_endpoint(where.url, credential=bool(key or partner or os.environ.get("MCP_TOKEN")))
        yield Fresh(where.url, "", key, partner)
        return
    if tell:
        typer.echo(f"Starting a server in mode {where.mode} …", err=True)
    async with fresh_server(where.mode, where.models, where.nexus) as fresh:
        if tell:
            typer.echo(f"{fresh.url} serves {fresh.application}, on its own database.", err=True)
        yield fresh


def _variables(where: Where) -> tuple[str, str]:
    return where.api_key_env, where.partner_key_env


def _client(url: str, key: str | None, *, token: bool) -> AbstractAsyncContextManager[ToolClient]:
    from kailash_mcp_prod.client import connect_to_url

    own = os.environ.get("MCP_TOKEN") if token and key is None else None
    return connect_to_url(url, api_key=key, token=own)


def _run(where: Where, *, as_json: bool) -> list[Result]:
    from kailash_mcp_prod.client import leaf_of, reason_of

    try:
        return run_until_told(_shown(where, as_json=as_json))
    except BaseException as problem:  # noqa: BLE001 - raised again, as something that is told
        leaf = leaf_of(problem)
        if isinstance(leaf, StartupError) or not isinstance(leaf, Exception):
            raise leaf from None
        text = f"The server could not be reached or refused: {reason_of(leaf)}"
        raise StartupError(text) from None


def _say_nothing(_: object) -> None:
    pass
