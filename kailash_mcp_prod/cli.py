"""The command `kailash-mcp-prod`."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.cli_completion import tool_names
from kailash_mcp_prod.cli_explain import explain
from kailash_mcp_prod.cli_flags import flags_of, with_setting_flags
from kailash_mcp_prod.cli_loop import (
    Signals,
    configure_logging_of,
    leave_in_time,
    run,
    settle_garbage_collector,
)
from kailash_mcp_prod.config import ServerConfig, misspelt_variables
from kailash_mcp_prod.errors import StartupError

if TYPE_CHECKING:
    from kailash_mcp_prod.client import ToolClient

_LATE = {
    "init": "kailash_mcp_prod.cli_init",
    "doctor": "kailash_mcp_prod.cli_doctor",
    "config": "kailash_mcp_prod.cli_config",
    "demo": "kailash_mcp_prod.cli_demo",
    "key": "kailash_mcp_prod.cli_keys",
    "token": "kailash_mcp_prod.cli_tokens",
    "audit": "kailash_mcp_prod.cli_audit",
    "health": "kailash_mcp_prod.cli_health",
}


class _Commands(TyperGroup):
    """The commands. Most of them are loaded when named, so that serving starts sooner.

    The types are click's, which some releases of typer bring along under a name of their own.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, as the help shows them."""
        return [*super().list_commands(ctx), *_LATE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, if there is one."""
        if cmd_name in _LATE:
            return typer.main.get_command(importlib.import_module(_LATE[cmd_name]).app)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="""Serves the models of a Kailash DataFlow application as MCP tools.

    Begin with `init`, which writes an application that runs. `doctor` says what is wrong, and
    `demo` shows what there is. Example: kailash-mcp-prod init shop
    """,
)

_TOOL_ERROR = 5
_INTERRUPTED = 130


def main() -> None:
    """Runs the command; its exit code says what happened."""
    try:
        # However it was started: completion is installed under this name.
        app(prog_name="kailash-mcp-prod")
    except StartupError as problem:
        typer.echo(f"Error: {problem}", err=True)
        raise SystemExit(problem.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version_flag: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
@with_setting_flags
def serve(config: Path | None, no_auth: bool, **settings: Any) -> None:
    """Serve MCP over HTTP, WebSocket or both, with REST beside it, or MCP over stdio.

    Secrets come from the environment: JWT_SECRET, API_KEYS, MCP_BEARER_TOKENS, MCP_API_KEY,
    MCP_TOKEN, MCP_CURSOR_SECRET, MCP_INTROSPECTION_CLIENT_SECRET;
    or from files of these names in MCP_SECRETS_DIR.

    Example: kailash-mcp-prod serve --mode development --models shop:db
    """
    flags = flags_of(settings, no_auth=no_auth)
    loaded = ServerConfig.load(flags, config)
    configure_logging_of(loaded)
    for name, meant in misspelt_variables(os.environ).items():
        typer.echo(f"Warning: {name} is not a setting. Is {meant} meant?", err=True)
    if loaded.mode == "nexus-integration":
        from kailash_mcp_prod.cli_nexus import serve_nexus

        run(serve_nexus(loaded, leave_in_time))
        return
    if loaded.workers > 1:
        _supervise(loaded, flags, config)
        return
    run(_serve(loaded) if loaded.connect is None else _bridge(loaded, loaded.connect))


def _supervise(loaded: ServerConfig, flags: dict[str, Any], config: Path | None) -> None:
    if sys.platform == "win32":
        raise StartupError("Several workers need a system with fork and signals. Use --workers 1.")
    from kailash_mcp_prod.workers.supervisor import Supervisor

    if loaded.redis_url is None:
        typer.echo(
            f"Warning: without redis_url each of the {loaded.workers} workers has rate limits and "
            "circuit breakers of its own, so clients may call that many times as often.",
            err=True,
        )

    async def supervise() -> None:
        await Supervisor(loaded, flags, config, _tell).run()

    asyncio.run(supervise())


def _tell(urls: Mapping[str, str]) -> None:
    for name, url in urls.items():
        typer.echo(f"{name:5} {url}{'/docs' if name == 'REST' else ''}", err=True)


async def _bridge(config: ServerConfig, url: str) -> None:
    from kailash_mcp_prod.transports.bridge import Bridge
    from kailash_mcp_prod.transports.bridge_http import Endpoint

    credentials = {}
    if config.api_key is not None:
        credentials["X-API-Key"] = config.api_key.get_secret_value()
    if config.token is not None:
        credentials["Authorization"] = f"Bearer {config.token.get_secret_value()}"
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stopped.set)
    bridge = Bridge(Endpoint(url, credentials), max_line_bytes=config.max_body_bytes)
    async with bridge:
        ends = [asyncio.create_task(end) for end in (bridge.wait_closed(), stopped.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        leave_in_time()


async def _serve(config: ServerConfig) -> None:
    signals = Signals(leave_in_time)
    from kailash_mcp_prod.server import ProductionMCPServer

    server = ProductionMCPServer(config)
    if not await signals.allow(server.start()):
        return
    stopping = asyncio.create_task(signals.stopped.wait())
    try:
        settle_garbage_collector()
        _tell(server.urls)
        closing = asyncio.create_task(server.wait_closed())
        await asyncio.wait({closing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not closing.done():
            # A second signal, or the end of the only client, ends the wait for running calls.
            ends = [asyncio.create_task(end) for end in (server.drain(), signals.hurried.wait())]
            await asyncio.wait({closing, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        closing.cancel()
        leave_in_time()
    finally:
        stopping.cancel()
        await server.stop(drain=False)


_Url = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(help="A running server, such as http://127.0.0.1:3001/mcp. Else one is started."),
]
_Models = Annotated[str, typer.Option(help="The DataFlow instance, as module:attribute.")]
_Database = Annotated[Optional[str], typer.Option(help="Database of the models.")]  # noqa: UP045


app.command()(explain)


@app.command()
def tools(
    url: _Url = None,
    models: _Models = "models:db",
    database_url: _Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print names and schemas.")] = False,
) -> None:
    """List the tools of an application, or of a running server.

    Example: kailash-mcp-prod tools --models shop:db
    """

    async def show() -> None:
        async with _connect(url, models, database_url, ["--list-output-schemas"]) as client:
            found = await client.tools()
        if as_json:
            typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
            return
        for tool in found:
            first_line = tool["description"].partition("\n")[0]
            typer.echo(f"{tool['name']:44} {first_line}")
        typer.echo(f"{len(found)} tools", err=True)

    _run(show())


@app.command()
def call(
    tool: Annotated[
        str, typer.Argument(help="The tool, such as Company_list.", autocompletion=tool_names)
    ],
    arguments: Annotated[str, typer.Argument(help="Its arguments as JSON.")] = "{}",
    url: _Url = None,
    models: _Models = "models:db",
    database_url: _Database = None,
) -> None:
    """Call a tool and print its result as JSON. Exit code 5 means that the call failed.

    Example: kailash-mcp-prod call Company_list '{"limit": 3}'
    """
    try:
        parsed = json.loads(arguments)
    except json.JSONDecodeError as problem:
        raise typer.BadParameter(f"no valid JSON: {problem}", param_hint="ARGUMENTS") from None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="ARGUMENTS")

    async def run() -> None:
        async with _connect(url, models, database_url, []) as client:
            result, failed = await client.call(tool, parsed)
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        if failed:
            raise typer.Exit(_TOOL_ERROR)

    _run(run())


def _connect(
    url: str | None, models: str, database_url: str | None, flags: list[str]
) -> AbstractAsyncContextManager[ToolClient]:
    from kailash_mcp_prod.cli_credentials import require_endpoint
    from kailash_mcp_prod.client import connect_to_own_server, connect_to_url

    if url is not None:
        key, token = os.environ.get("MCP_API_KEY"), os.environ.get("MCP_TOKEN")
        require_endpoint(url, credential=bool(key or token))
        return connect_to_url(url, api_key=key, token=token)
    database = ["--database-url", database_url] if database_url else []
    return connect_to_own_server(["--models", models, *database, *flags])


def _run(command: Coroutine[Any, Any, None]) -> None:
    """Runs a client command; the SDK wraps what happens inside into exception groups."""
    try:
        asyncio.run(command)
    except BaseExceptionGroup as group:
        from kailash_mcp_prod.client import leaf_of

        leaf = leaf_of(group)
        if isinstance(leaf, typer.Exit | StartupError | KeyboardInterrupt):
            raise leaf from None
        _fail(leaf)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as problem:
        if isinstance(problem, typer.Exit | StartupError):
            raise
        _fail(problem)


def _fail(problem: BaseException) -> None:
    typer.echo(f"Error: the server could not be reached or refused: {problem}", err=True)
    raise typer.Exit(1)
