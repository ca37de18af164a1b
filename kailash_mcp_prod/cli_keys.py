"""The command `kailash-mcp-prod key`: the API keys in the application's database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from kailash_mcp_prod.cli_credentials import (
    MAX_NAME,
    AsJson,
    Claims,
    Config,
    Database,
    Label,
    Models,
    Permissions,
    ReadOnly,
    Roles,
    SurfaceName,
    Tenant,
    claims_of,
    hand_out,
    instant_of,
    json_of,
    note,
    open_store,
    print_facts,
    print_json,
    read_secret,
    require_label,
    run,
    seconds_of,
    settings,
    words,
)
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError, StartupError

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.api_keys import MintedKey
    from kailash_mcp_prod.state.credentials import CredentialStore
    from kailash_mcp_prod.state.stored_key import StoredKey

app = typer.Typer(
    name="key",
    no_args_is_help=True,
    add_completion=False,
    help="Mint, list, inspect, rotate and revoke API keys.",
)

_KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, or - for a key on stdin.")]
_Expires = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(help="When it ends, such as 30d; by default never."),
]


@app.command()
def mint(
    *,
    agent_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Who calls with it; keys of one agent are one caller."),
    ] = None,
    permissions: Permissions = None,
    roles: Roles = None,
    tenant: Tenant = None,
    claim: Claims = None,
    read_only: ReadOnly = False,
    rate_limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Calls a minute, if others than the server's."),
    ] = None,
    surface: SurfaceName = None,
    expires: _Expires = None,
    label: Label = None,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Mint a key and print it. It is shown this once: only its digest is kept.

    Example: kailash-mcp-prod key mint --agent-id reporting --permissions '*:read' --expires 30d
    """

    async def add() -> tuple[StoredKey, bool]:
        from kailash_mcp_prod.auth.api_keys import mint_key
        from kailash_mcp_prod.state.stored_key import StoredKey

        grants = _checked(
            {
                "agent_id": agent_id,
                "tenant_id": tenant,
                "permissions": words(permissions),
                "roles": words(roles),
                "read_only": read_only,
                "rate_limit": rate_limit,
                "surface": surface,
                "claims": claims_of(claim),
            }
        )
        require_label(label)
        now = time.time()
        ends = now + seconds_of(expires) if expires else None
        minted = mint_key()
        key = StoredKey(
            minted.id, minted.digest, minted.id, now, label=label, expires_at=ends, **grants
        )
        loaded = settings(config, models, database_url)
        async with open_store(loaded, create=True) as store:
            await store.add(key, lambda: _hand_out(key, minted, as_json=as_json))
            await note(store, loaded, "key_mint", key.id, **_granted(key))
        return key, loaded.key_store

    key, taken = run(add, as_json=as_json)
    _tell_of(key, as_json=as_json)
    if not taken:
        typer.echo("Servers take minted keys with key_store on (MCP_KEY_STORE=true).", err=True)


@app.command("list")
def list_keys(
    everything: Annotated[
        bool, typer.Option("--all", help="Revoked and expired ones too.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """List the keys, without their secrets.

    Example: kailash-mcp-prod key list --json
    """

    async def find() -> list[StoredKey]:
        async with open_store(settings(config, models, database_url), create=False) as store:
            return await store.all()

    now = time.time()
    keys = [
        key for key in run(find, as_json=as_json) if everything or key.state_at(now) == "active"
    ]
    if as_json:
        print_json([_facts(key, now) for key in keys])
        return
    for key in keys:
        granted = ",".join((*key.permissions, *(f"role {each}" for each in key.roles)))
        ends = f"until {instant_of(key.expires_at)}" if key.expires_at else ""
        who = key.agent_id or "-"
        line = f"{key.id}  {key.state_at(now):7}  {who:20}  {granted}  {ends}  {key.label or ''}"
        typer.echo(line.rstrip())
    typer.echo(f"{len(keys)} keys", err=True)


@app.command()
def inspect(
    key_id: _KeyId,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Show what a key grants, whether it is good, and when it was used last.

    Example: kailash-mcp-prod key inspect 3f9a1c2e
    """

    async def find() -> StoredKey:
        async with open_store(settings(config, models, database_url), create=False) as store:
            return await _named(store, key_id)

    _show(run(find, as_json=as_json), as_json=as_json)


@app.command()
def rotate(
    key_id: _KeyId,
    *,
    overlap: Annotated[str, typer.Option(help="How long the old one stays good.")] = "24h",
    expires: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="When the new one ends; by default it lives as long as the old one."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Mint a key in place of another one, which ends after the overlap. Prints the new key.

    Example: kailash-mcp-prod key rotate 3f9a1c2e --overlap 2h
    """

    async def change() -> tuple[StoredKey, StoredKey]:
        from dataclasses import replace

        from kailash_mcp_prod.auth.api_keys import mint_key

        kept = seconds_of(overlap)
        life: float | None = seconds_of(expires) if expires else None
        loaded = settings(config, models, database_url)
        async with open_store(loaded, create=False) as store:
            old = await _named(store, key_id)
            now = time.time()
            if life is None and old.expires_at is not None:
                life = old.expires_at - old.created_at
            minted = mint_key()
            successor = replace(
                old,
                id=minted.id,
                digest=minted.digest,
                created_at=now,
                expires_at=None if life is None else now + life,
                last_used_at=None,
            )
            ending = await store.rotate(
                old.id,
                successor,
                now + kept,
                lambda: _hand_out(successor, minted, as_json=as_json),
            )
            await note(store, loaded, "key_rotate", old.id, successor.id, **_granted(successor))
            return ending, successor

    old, key = run(change, as_json=as_json)
    _tell_of(key, as_json=as_json)
    typer.echo(f"Key {old.id} ends at {instant_of(old.expires_at)}.", err=True)


@app.command()
def revoke(
    key_id: _KeyId,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """End a key for good, on all servers within a second.

    Example: kailash-mcp-prod key revoke 3f9a1c2e
    """

    async def end() -> StoredKey:
        loaded = settings(config, models, database_url)
        async with open_store(loaded, create=False) as store:
            revoked = await store.revoke((await _named(store, key_id)).id)
            await note(store, loaded, "key_revoke", revoked.id, agent=revoked.agent_id)
            return revoked

    key = run(end, as_json=as_json)
    if as_json:
        print_json(_facts(key, time.time()))
    else:
        typer.echo(f"Key {key.id} is revoked.")


async def _named(store: CredentialStore, key_id: str) -> StoredKey:
    if key_id != "-":
        return await store.get(key_id)
    from kailash_mcp_prod.auth.api_keys import digest_of

    found = await store.find(digest_of(read_secret("key")).hex())
    if found is None:
        raise NotFoundError("That key was not minted for this database.")
    return found


def _granted(key: StoredKey) -> dict[str, Any]:
    """What the audit says of a new key."""
    return {
        "agent": key.agent_id,
        "permissions": key.permissions,
        "roles": key.roles,
        "expires": instant_of(key.expires_at),
    }


def _checked(grants: dict[str, Any]) -> dict[str, Any]:
    """The grants of a key, by the rules of those in the configuration."""
    from pydantic import ValidationError

    from kailash_mcp_prod.config_values import ApiKeyEntry

    if not (grants["permissions"] or grants["roles"]):
        raise InvalidArgumentsError("A key without permissions or roles could do nothing.")
    for name in ("agent_id", "tenant_id", "surface"):
        if grants[name] is not None and not 0 < len(grants[name]) <= MAX_NAME:
            raise InvalidArgumentsError(f"{name} has 1 to {MAX_NAME} characters.")
    try:
        ApiKeyEntry.model_validate(grants)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        text = problem["msg"].removeprefix("Value error, ")
        raise InvalidArgumentsError(f"{problem['loc'][0]}: {text}.") from None
    return grants


def _hand_out(key: StoredKey, minted: MintedKey, *, as_json: bool) -> None:
    """Prints a new key, alone on standard output, so that a shell can keep it in a variable.

    Raises:
        StartupError: Nobody has seen it.
    """
    facts = {"key": minted.text, **_facts(key, key.created_at)}
    try:
        hand_out(json_of(facts) if as_json else minted.text)
    except StartupError as problem:
        raise StartupError(f"{problem} No key was minted.") from None


def _tell_of(key: StoredKey, *, as_json: bool) -> None:
    if not as_json:
        ends = f", until {instant_of(key.expires_at)}" if key.expires_at else ""
        typer.echo(f"This is key {key.id}{ends}. It is not shown again.", err=True)


def _show(key: StoredKey, *, as_json: bool) -> None:
    facts = _facts(key, time.time())
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def _facts(key: StoredKey, now: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "state": key.state_at(now),
        "agent_id": key.agent_id,
        "tenant_id": key.tenant_id,
        "permissions": list(key.permissions),
        "roles": list(key.roles),
        "read_only": key.read_only,
        "rate_limit": key.rate_limit,
        "surface": key.surface,
        "claims": dict(key.claims),
        "label": key.label,
        "created_at": instant_of(key.created_at),
        "expires_at": instant_of(key.expires_at),
        "last_used_at": instant_of(key.last_used_at),
        "revoked_at": instant_of(key.revoked_at),
        "replaced_by": key.replaced_by,
    }
