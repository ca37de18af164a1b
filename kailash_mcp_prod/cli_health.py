"""The command `health`: whether a server is ready for clients, as its exit code says."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Annotated, Final, Optional
from urllib.parse import urlsplit

import typer

from kailash_mcp_prod.config_file import CONFIG_FILE_VARIABLE, read_settings

app = typer.Typer(add_completion=False)

_NOT_READY = 1
_READY = "/health/ready"
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared
_LONGEST_ANSWER: Final = 1_000_000


@app.command()
def health(
    url: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(
            help="Where REST is, with a path if it has one; by default here, on port + 1."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait for the answer.")
    ] = 4,
) -> None:
    """Ask a running server whether clients may be sent to it.

    The exit code is 0 if /health/ready says so and 1 if not. No credential is needed.

    Example: kailash-mcp-prod health --url http://127.0.0.1:3002
    """
    connection, prefix = _connection(url or _on_this_machine(), seconds)
    try:
        connection.request("GET", prefix + _READY)
        with connection.getresponse() as answer:
            status, body = answer.status, answer.read(_LONGEST_ANSWER)
    except (OSError, HTTPException, UnicodeError) as problem:
        typer.echo(f"no answer: {type(problem).__name__}", err=True)
        raise typer.Exit(_NOT_READY) from None
    finally:
        connection.close()
    if status != 200:
        typer.echo(f"not ready: {status}", err=True)
        raise typer.Exit(_NOT_READY)
    if not _is_ours(body):
        typer.echo("what answers there is another program", err=True)
        raise typer.Exit(_NOT_READY)
    typer.echo("ready")


def _on_this_machine() -> str:
    """The address of REST with the host and the port of the environment, else of its file.

    All other settings are left unchecked: a probe has to be quick and to work without secrets.
    """
    file = os.environ.get(CONFIG_FILE_VARIABLE)
    settings = read_settings(Path(file)) if file else {}
    port = os.environ.get("MCP_PORT") or str(settings.get("port", 3001))
    if not port.isdecimal():
        raise typer.BadParameter("the port is no number; name the address", param_hint="--url")
    host = os.environ.get("MCP_HOST") or str(settings.get("host", "127.0.0.1"))
    host = _ANY_ADDRESS.get(host, host).strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{int(port) + 1}"


def _is_ours(body: bytes) -> bool:
    try:
        return "health_status" in json.loads(body)
    except (ValueError, TypeError):
        return False


def _connection(url: str, seconds: float) -> tuple[HTTPConnection, str]:
    """A connection to an address, and the path below which REST is there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise typer.BadParameter("is no address", param_hint="--url") from None
    kinds: dict[str, type[HTTPConnection]] = {"http": HTTPConnection, "https": HTTPSConnection}
    if parts.scheme not in kinds or parts.hostname is None:
        raise typer.BadParameter("must be such as http://127.0.0.1:3002", param_hint="--url")
    return kinds[parts.scheme](parts.hostname, port, timeout=seconds), parts.path.rstrip("/")
