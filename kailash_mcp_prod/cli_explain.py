"""The command `explain`: why an agent may call a tool, or not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from kailash_mcp_prod.cli_completion import tool_names
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    ConfigError,
    DatabaseStartupError,
    InvalidArgumentsError,
    UnavailableError,
)

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.principal import Principal
    from kailash_mcp_prod.state.stored_key import StoredKey
    from kailash_mcp_prod.tools.explaining import Explanation

_REFUSED = 5

_Text = Optional[str]  # noqa: UP045 - typer reads it


def explain(
    *,
    agent: Annotated[
        str,
        typer.Argument(
            help="The agent_id of a configured API key; the agent_id, id or label of a minted one; "
            "or any name with --roles."
        ),
    ],
    tool: Annotated[
        str, typer.Argument(help="The tool, such as Quote_update.", autocompletion=tool_names)
    ],
    arguments: Annotated[
        _Text, typer.Argument(help="Arguments as JSON, checked as in a call; nothing is called.")
    ] = None,
    permissions: Annotated[_Text, typer.Option(help="Its permissions, with commas.")] = None,
    roles: Annotated[_Text, typer.Option(help="Its roles, with commas.")] = None,
    tenant: Annotated[_Text, typer.Option(help="Its tenant.")] = None,
    claim: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it
        typer.Option(help="A claim of its token, as name=value; a value may be JSON. Several."),
    ] = None,
    claims: Annotated[_Text, typer.Option(help="The claims of its token, as JSON.")] = None,
    read_only: Annotated[bool, typer.Option(help="Its credential is read-only.")] = False,
    config: Annotated[Optional[Path], typer.Option(help="JSON file with settings.")] = None,  # noqa: UP045
    models: Annotated[_Text, typer.Option(help="The DataFlow instance.")] = None,
    database_url: Annotated[_Text, typer.Option(help="Database of the models.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why an agent may call a tool, or not, and which records and fields are left to it.

    The exit code is 0 if it may and 5 if it may not. Nothing is called, and nothing is changed.

    Example: kailash-mcp-prod explain carla Quote_update --roles clerk --claim sub=carla
    """
    # Nobody connects, so nobody has to be let in.
    flags: dict[str, Any] = {"transport": "stdio", "enable_auth": False}
    flags |= {
        name: value
        for name, value in (("models", models), ("database_url", database_url))
        if value is not None
    }
    settings = ServerConfig.load(flags, config)
    parsed = None if arguments is None else _object(arguments, "ARGUMENTS")
    hypothesis = {
        "permissions": None if permissions is None else _words(permissions),
        "roles": None if roles is None else _words(roles),
        "tenant": tenant,
        "claims": _claims(claims, claim),
        "read_only": read_only or None,
    }
    given = {name: value for name, value in hypothesis.items() if value is not None}
    found = asyncio.run(_explain(settings, agent, given, tool, parsed))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        _print(found)
    if not found.allowed:
        raise typer.Exit(_REFUSED)


async def _explain(
    settings: ServerConfig,
    agent: str,
    given: dict[str, Any],
    tool: str,
    arguments: dict[str, Any] | None,
) -> Explanation:
    from kailash_mcp_prod.server import ProductionMCPServer
    from kailash_mcp_prod.tools.explaining import Explainer

    server = ProductionMCPServer(settings)
    await server.describe()
    principal = await _principal(settings, agent, given)
    # Those too that the surface compact alone calls.
    tools = {each.name: each for each in server.registry.every()}
    return Explainer(server.policy, tools).explain(principal, tool, arguments)


async def _principal(settings: ServerConfig, agent: str, given: dict[str, Any]) -> Principal:
    """Who the agent is: what its key says, with whatever else the command line says."""
    from kailash_mcp_prod.auth.configured import configured_principals
    from kailash_mcp_prod.auth.principal import Principal

    known = {each.subject: each for each in configured_principals(settings)}
    found = known.get(agent) or known.get(f"key:{agent}") or known.get(f"bearer:{agent}")
    if found is None:
        try:
            found = await _minted(settings, agent, required=not given)
        except DatabaseStartupError as problem:
            if not given:
                raise
            typer.echo(f"{problem} {agent} is taken for a name that no key has.", err=True)
    if found is None and not given:
        raise ConfigError(
            f"No configured API key has the agent_id {agent}, and no minted one has it as its "
            f"agent_id, id or label. Configured are: {', '.join(known) or 'none'}. Or say what the "
            "agent would have, with --permissions, --roles or --claim."
        )
    return replace(found or Principal(agent, frozenset(), method="explained"), **given)


async def _minted(settings: ServerConfig, name: str, *, required: bool) -> Principal | None:
    """Who calls with the minted key of a name, if there is one that is good.

    Raises:
        ConfigError: Several are meant, or one is required and all have ended.
        DatabaseStartupError: They can't be looked up.
    """
    from kailash_mcp_prod.auth.minted_keys import principal_named

    now = time.time()
    keys = await _keys_named(settings, name)
    found = principal_named(keys, name, now)
    if found is None and keys and required:
        raise ConfigError(f"The minted key {keys[0].id} is {keys[0].state_at(now)}.")
    if found is not None and not settings.key_store:
        typer.echo("Servers take minted keys with key_store on (MCP_KEY_STORE=true).", err=True)
    return found


async def _keys_named(settings: ServerConfig, name: str) -> list[StoredKey]:
    from kailash_mcp_prod.cli_credentials import open_store

    try:
        async with open_store(settings, create=False) as store:
            return await store.named(name)
    except (DatabaseStartupError, UnavailableError) as problem:
        raise DatabaseStartupError(
            f"No configured API key has the agent_id {name}, and minted ones can't be looked up: "
            f"{problem}"
        ) from problem


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _claims(together: str | None, single: list[str] | None) -> Mapping[str, Any] | None:
    """The claims, however they were given; what was named singly goes before."""
    from kailash_mcp_prod.cli_credentials import claims_of

    if together is None and not single:
        return None
    found = {} if together is None else _object(together, "--claims")
    try:
        return MappingProxyType(found | claims_of(single))
    except InvalidArgumentsError as refused:
        raise typer.BadParameter(refused.message, param_hint="--claim") from None


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as problem:
        raise typer.BadParameter(f"no valid JSON: {problem}", param_hint=name) from None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("must be a JSON object", param_hint=name)
    return parsed


def _print(found: Explanation) -> None:
    typer.echo(f"{found.subject} {'may' if found.allowed else 'may not'} call {found.tool}.")
    if found.reason:
        typer.echo(f"  {found.reason}")
    for permission, grant in found.granted.items():
        typer.echo(f"  needs {permission}: {f'granted by {grant}' if grant else 'not granted'}")
    for rows in found.rows:
        typer.echo(f"  only records with {json.dumps(rows, ensure_ascii=False)}")
    if found.hidden:
        typer.echo(f"  without the fields {', '.join(found.hidden)}")
    for field, value in found.filled.items():
        typer.echo(f"  sets {field} to {json.dumps(value, ensure_ascii=False)} in new records")
