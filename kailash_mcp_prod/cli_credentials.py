"""What the commands `key`, `token` and `audit` share: options, the state, how results are told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional, TypeVar

import typer

from kailash_mcp_prod.cli_completion import among
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_values import check_endpoint
from kailash_mcp_prod.errors import (
    ConfigError,
    DatabaseStartupError,
    InvalidArgumentsError,
    ServerError,
    StartupError,
    UnavailableError,
)
from kailash_mcp_prod.tools.surfaces.names import CHOICES

if TYPE_CHECKING:
    from kailash_mcp_prod.state.credentials import CredentialStore
    from kailash_mcp_prod.state.database import StateDatabase

Result = TypeVar("Result")

NOT_GOOD: Final = 5
"""The exit code of a refused command, and of a credential that is no good."""

_STARTUP_CODES: Final = (
    (ConfigError, "invalid_configuration"),
    (DatabaseStartupError, "unavailable"),
)
_NO_RIGHT: Final = "42501"
_DURATION: Final = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_DAYS: Final = 3650
_MAX_READ: Final = 65_536

MAX_NAME: Final = 255
"""How long a name or a label may be."""

Config = Annotated[Optional[Path], typer.Option("--config", help="JSON file with settings.")]  # noqa: UP045 - typer reads it
Models = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="The DataFlow instance, as module:attribute."),
]
Database = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--database-url", help="The application's database, if not from its models."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Permissions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="What it may do, such as Company:read; several, or with commas."),
]
Roles = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Names of roles of the configuration; several, or with commas."),
]
Tenant = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Whose records of multi-tenant models it reaches."),
]
Claims = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--claim", help="A further fact, as name=value; a value may be JSON. Several."),
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="It changes nothing.")]
SurfaceName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="The surface of tools that it is shown.", autocompletion=among(list(CHOICES))
    ),
]
Label = Annotated[Optional[str], typer.Option(help="A note for yourself.")]  # noqa: UP045


def settings(config: Path | None, models: str | None, database_url: str | None) -> ServerConfig:
    """The settings that a command goes by.

    It serves nobody, so those do not matter without which a server would be unsafe.
    """
    flags: dict[str, Any] = {"enable_auth": False, "transport": "stdio"}
    if models is not None:
        flags["models"] = models
    if database_url is not None:
        flags["database_url"] = database_url
    return ServerConfig.load(flags, config)


@contextlib.asynccontextmanager
async def open_store(config: ServerConfig, *, create: bool) -> AsyncIterator[CredentialStore]:
    """The keys and revocations of the application.

    Args:
        config: Names the database, or the models that know it.
        create: Whether the tables are made, if they are missing.
    """
    from kailash_mcp_prod.state.credentials import CredentialStore

    async with open_state(config) as database:
        store = CredentialStore(database)
        if create:
            await store.prepare()
        yield store


@contextlib.asynccontextmanager
async def open_state(config: ServerConfig) -> AsyncIterator[StateDatabase]:
    """The database of the application, of which the settings or the models know.

    Raises:
        DatabaseStartupError: In the block too, where the database refuses what is asked of it.
    """
    from sqlalchemy.exc import ProgrammingError

    from kailash_mcp_prod.records.connecting import wait_for_database
    from kailash_mcp_prod.state.database import StateDatabase

    url = _database_of(config)
    await wait_for_database(url, config.wait_for_db)
    database = StateDatabase(url, connections=1)
    try:
        yield database
    except ProgrammingError as failure:
        raise DatabaseStartupError(_why_refused(failure.orig)) from None
    finally:
        await database.close()


async def note(
    store: CredentialStore, config: ServerConfig, action: str, *ids: str, **facts: Any
) -> None:
    """Notes in the audit what a command has done; see `note_operation`."""
    from kailash_mcp_prod.observe.audit_operator import note_operation

    await note_operation(store.database, config, action, ids, **facts)


def _why_refused(failure: BaseException | None) -> str:
    if getattr(failure, "sqlstate", None) == _NO_RIGHT:
        return (
            "The database's user may not use the tables of keys, tokens and the audit, mcp_…. "
            "Grant it SELECT on them, and to mint and revoke INSERT, UPDATE and DELETE too."
        )
    return "The tables of keys, tokens and the audit, mcp_…, are not those of this version."


def _database_of(config: ServerConfig) -> str:
    from kailash_mcp_prod.models_loader import absolute_sqlite_url, load_dataflow

    if config.database_url is not None:
        return absolute_sqlite_url(config.database_url)
    # What an application prints while it is imported must not stand among the results.
    with contextlib.redirect_stdout(sys.stderr):
        return str(load_dataflow(config.models, None).config.database.url)


def run(command: Callable[[], Coroutine[Any, Any, Result]], *, as_json: bool) -> Result:
    """Runs a command; a failure is told on stderr, in the form that was asked for."""
    with told(as_json=as_json):
        return asyncio.run(command())


@contextlib.contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """Tells the failures of a block and ends the process with their exit code."""
    try:
        yield
    except ServerError as refused:
        exit_code = NOT_GOOD
        if isinstance(refused, InvalidArgumentsError):
            exit_code = ConfigError.exit_code
        elif isinstance(refused, UnavailableError):
            exit_code = DatabaseStartupError.exit_code
        _fail(refused.code, refused.message, exit_code, as_json=as_json)
    except StartupError as problem:
        code = next((code for kind, code in _STARTUP_CODES if isinstance(problem, kind)), "failed")
        _fail(code, str(problem), problem.exit_code, as_json=as_json)


def _fail(code: str, message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    error = {"error": {"code": code, "message": message}}
    typer.echo(json.dumps(error) if as_json else f"Error: {message}", err=True)
    raise typer.Exit(exit_code)


def print_json(value: Any) -> None:
    """Prints a result for a program to read."""
    typer.echo(json_of(value))


def json_of(value: Any) -> str:
    """A result for a program to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def hand_out(text: str) -> None:
    """Prints what is shown this once.

    Raises:
        StartupError: It can't be written, so nobody has seen it.
    """
    try:
        if sys.__stdout__ is None:
            raise OSError(errno.EBADF, "It is closed")
        typer.echo(text)
    except OSError as failure:
        if sys.stdout is sys.__stdout__:
            # What has not left would be tried again at the end of the process, with a traceback.
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the rest of its life
        raise StartupError(f"Standard output can't be written: {failure.strerror}.") from None


def print_facts(facts: dict[str, Any]) -> None:
    """Prints a result for a person to read: a line for each fact that there is."""
    for name, value in facts.items():
        if value not in (None, [], {}, False):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            typer.echo(f"{name + ':':14} {text}")


def read_secret(what: str) -> str:
    """Reads a credential from standard input: an argument would show it to the whole machine.

    Raises:
        InvalidArgumentsError: There is none.
    """
    if sys.stdin.isatty():
        typer.echo(f"Paste the {what} and press Enter.", err=True)
    text = sys.stdin.readline(_MAX_READ).strip()
    if not text:
        raise InvalidArgumentsError(f"Send the {what} on standard input.")
    return text


def words(given: Sequence[str] | None) -> tuple[str, ...]:
    """The values of an option that may be given several times, or hold commas."""
    parts = (part.strip() for each in given or () for part in each.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def require_label(label: str | None) -> None:
    """Refuses a label that is too long to be kept.

    Raises:
        InvalidArgumentsError: It is.
    """
    if label is not None and len(label) > MAX_NAME:
        raise InvalidArgumentsError(f"A label has at most {MAX_NAME} characters.")


def claims_of(given: Sequence[str] | None) -> dict[str, Any]:
    """The further claims: name=value, where what is no JSON is text.

    Raises:
        InvalidArgumentsError: One has no name.
    """
    claims: dict[str, Any] = {}
    for each in given or ():
        name, found, value = each.partition("=")
        if not (name and found):
            raise InvalidArgumentsError("A claim is name=value.")
        try:
            claims[name] = json.loads(value)
        except ValueError:
            claims[name] = value
    return claims


def seconds_of(duration: str) -> int:
    """The length of a time such as 90s, 30m, 8h or 30d.

    Raises:
        InvalidArgumentsError: It is none, or longer than ten years.
    """
    found = _DURATION.fullmatch(duration.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _MAX_DAYS * _SECONDS["d"]:
        raise InvalidArgumentsError(
            f"A time is a number and s, m, h or d, such as 8h, and at most {_MAX_DAYS}d."
        )
    return seconds


def instant_of(time: float | None) -> str | None:
    """A Unix time for people and programs."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def require_endpoint(url: str, *, credential: bool) -> None:
    """Refuses an address of a server that is none, or to which a credential must not go.

    Raises:
        ConfigError: It is one of these.
    """
    try:
        check_endpoint(url, credential=credential, insecure=False)
    except ValueError as problem:
        text = str(problem).removeprefix("connect ").replace(", or say --insecure", "")
        raise ConfigError(f"--url: {text}.") from None
