"""The command `kailash-mcp-prod token`: JSON Web Tokens signed with the server's secret."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from kailash_mcp_prod.cli_credentials import (
    NOT_GOOD,
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
    open_state,
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
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_tokens import MIN_SECRET_BYTES
from kailash_mcp_prod.errors import (
    ConfigError,
    InvalidArgumentsError,
    StartupError,
    UnavailableError,
)

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.token_minting import MintedToken, TokenGrants, TokenReport
    from kailash_mcp_prod.state.database import StateDatabase
    from kailash_mcp_prod.state.token_notes import TokenNote

app = typer.Typer(
    name="token",
    no_args_is_help=True,
    add_completion=False,
    help="Mint, list, inspect and revoke JSON Web Tokens.",
)

_MAX_LIFE_SECONDS: Final = 366 * 86_400
_MAX_LISTED: Final = 1000
_SHOWN_CHARACTERS: Final = 60


@app.command()
def mint(
    *,
    subject: Annotated[str, typer.Option(help="Who calls with it: the claim sub.")],
    permissions: Permissions = None,
    roles: Roles = None,
    tenant: Tenant = None,
    claim: Claims = None,
    read_only: ReadOnly = False,
    surface: SurfaceName = None,
    expires: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Option(help="When it ends, such as 8h; by default after jwt_expiration_hours."),
    ] = None,
    label: Label = None,
    unlisted: Annotated[
        bool,
        typer.Option("--unlisted", help="Note nothing: no database is asked, no list shows it."),
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Mint a token with JWT_SECRET and print it. It is kept nowhere, but listed by its jti.

    Example: kailash-mcp-prod token mint --subject carla --roles clerk --expires 8h
    """

    async def make() -> MintedToken:
        from kailash_mcp_prod.auth.token_minting import TokenGrants, mint_token

        loaded = settings(config, models, database_url)
        life = seconds_of(expires) if expires else loaded.jwt_expiration_hours * 3600
        if life > _MAX_LIFE_SECONDS:
            raise InvalidArgumentsError("A token lives for 366 days at most.")
        if not subject.strip():
            raise InvalidArgumentsError("The subject is empty.")
        require_label(label)
        if unlisted and label is not None:
            raise InvalidArgumentsError("A label is noted, and --unlisted notes nothing.")
        grants = TokenGrants(
            subject=subject,
            permissions=words(permissions),
            roles=words(roles),
            tenant=tenant,
            tenant_claim=loaded.tenant_claim,
            roles_claim=loaded.roles_claim,
            scope=loaded.required_scopes,
            issuer=loaded.jwt_issuer,
            audience=loaded.audiences,
            surface=surface,
            read_only=read_only,
            claims=claims_of(claim),
        )
        if not (grants.permissions or grants.roles):
            raise InvalidArgumentsError("A token without permissions or roles could do nothing.")
        token = mint_token(_secret_of(loaded), grants, life)
        if not unlisted:
            await _note(loaded, token, grants, label)
        facts = {"token": token.text, "claims": token.claims}
        try:
            hand_out(json_of(facts) if as_json else token.text)
        except StartupError as problem:
            if unlisted:
                raise
            async with open_state(loaded) as database:
                await _end(database, loaded, token.claims["jti"], token.claims["exp"])
            raise StartupError(f"{problem} The token is revoked.") from None
        return token

    minted = run(make, as_json=as_json)
    if as_json:
        return
    ends = instant_of(minted.claims["exp"])
    kept = "It is kept nowhere, and in no list." if unlisted else "It is not shown again."
    typer.echo(f"This is token {minted.claims['jti']}, until {ends}. {kept}", err=True)


@app.command("list")
def list_tokens(
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=_MAX_LISTED, help="How many at most, the newest first.")
    ] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Expired ones too, as far as they are noted.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """List the tokens that were minted here, and which of them were revoked.

    Example: kailash-mcp-prod token list --all
    """

    async def find() -> list[TokenNote]:
        from kailash_mcp_prod.state.token_notes import TokenNotes

        async with open_state(settings(config, models, database_url)) as database:
            return await TokenNotes(database).newest(limit + 1, expired=everything)

    found = run(find, as_json=as_json)
    now = time.time()
    if as_json:
        print_json([_facts(note, now) for note in found[:limit]])
    else:
        for note in found[:limit]:
            typer.echo(_line(note, now))
        typer.echo(f"{len(found[:limit])} tokens", err=True)
    if len(found) > limit:
        typer.echo("There are older ones: see --limit.", err=True)


@app.command()
def inspect(
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Show the claims of a token on standard input, and whether it is good. Exit code 5: not.

    Example: kailash-mcp-prod token inspect --json < token.txt
    """

    async def judge() -> tuple[TokenReport, str | None]:
        loaded = settings(config, models, database_url)
        report = _report(loaded, read_secret("token"))
        if report.problem is not None or report.jti is None:
            return report, report.problem
        async with open_store(loaded, create=False) as store:
            revoked = await store.token_revoked_at(report.jti)
        return report, None if revoked is None else f"it was revoked at {instant_of(revoked)}"

    report, problem = run(judge, as_json=as_json)
    if as_json:
        print_json({"good": problem is None, "problem": problem, "claims": report.claims})
    else:
        print_facts({"good": "yes" if problem is None else f"no: {problem}", **_readable(report)})
    if problem is not None:
        raise typer.Exit(NOT_GOOD)


@app.command()
def revoke(
    jti: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Its jti, such as `list` shows, instead of the token on stdin."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """End a token, by its jti or given on standard input, on all servers within a second.

    Example: kailash-mcp-prod token revoke --jti 3f9a1c2e
    """

    async def end() -> tuple[str, float | None]:
        from kailash_mcp_prod.auth.token_minting import MAX_JTI_LENGTH
        from kailash_mcp_prod.state.token_notes import TokenNotes

        loaded = settings(config, models, database_url)
        # What is not signed by us may say anything, so its own end is not believed.
        ends: float | None = None
        named = jti
        if named is None:
            report = _report(loaded, read_secret("token"))
            named = report.jti
            ends = _end_of(report)
        if not named or len(named) > MAX_JTI_LENGTH:
            raise InvalidArgumentsError(
                f"A token can be revoked by a jti of 1 to {MAX_JTI_LENGTH} characters; it has none."
            )
        async with open_state(loaded) as database:
            if jti is not None:
                found = await TokenNotes(database).get(jti)
                ends = None if found is None else found.expires_at
            await _end(database, loaded, named, ends)
        return named, ends

    revoked, ends = run(end, as_json=as_json)
    if as_json:
        print_json({"jti": revoked, "revoked": True, "expires_at": instant_of(ends)})
    else:
        typer.echo(f"Token {revoked} is revoked.")
    if jti is not None and ends is None:
        typer.echo("No such token is listed. Its revocation is kept for good.", err=True)


async def _note(
    config: ServerConfig, token: MintedToken, grants: TokenGrants, label: str | None
) -> None:
    """Notes a token before it is handed out."""
    from kailash_mcp_prod.state.credentials import CredentialStore
    from kailash_mcp_prod.state.token_notes import TokenNote, TokenNotes

    noted = TokenNote(
        jti=token.claims["jti"],
        subject=grants.subject,
        created_at=time.time(),
        expires_at=token.claims["exp"],
        permissions=grants.permissions,
        roles=grants.roles,
        tenant_id=grants.tenant,
        read_only=grants.read_only,
        label=label,
    )
    with _nothing_minted_without_a_note():
        async with open_state(config) as database:
            await TokenNotes(database).add(noted)
            await note(
                CredentialStore(database),
                config,
                "token_mint",
                noted.jti,
                subject=noted.subject,
                permissions=noted.permissions,
                roles=noted.roles,
                expires=instant_of(noted.expires_at),
            )


async def _end(
    database: StateDatabase, config: ServerConfig, jti: str, expires_at: float | None
) -> None:
    from kailash_mcp_prod.state.credentials import CredentialStore

    store = CredentialStore(database)
    await store.prepare()
    await store.revoke_token(jti, expires_at)
    await note(store, config, "token_revoke", jti)


@contextlib.contextmanager
def _nothing_minted_without_a_note() -> Iterator[None]:
    """Lets a failure say that there is no token, and how to get one all the same."""
    text = "No token was handed out, because it can't be noted: {} With --unlisted none is noted."
    try:
        yield
    except UnavailableError as problem:
        raise UnavailableError(text.format(problem.message)) from problem
    except StartupError as problem:
        raise type(problem)(text.format(problem)) from problem


def _facts(note: TokenNote, now: float) -> dict[str, Any]:
    return {
        "jti": note.jti,
        "state": note.state_at(now),
        "subject": note.subject,
        "tenant_id": note.tenant_id,
        "permissions": list(note.permissions),
        "roles": list(note.roles),
        "read_only": note.read_only,
        "label": note.label,
        "created_at": instant_of(note.created_at),
        "expires_at": instant_of(note.expires_at),
        "revoked_at": instant_of(note.revoked_at),
    }


def _line(note: TokenNote, now: float) -> str:
    granted = ",".join((*note.permissions, *(f"role {each}" for each in note.roles)))
    parts = (
        note.jti,
        f"{note.state_at(now):7}",
        f"{_shown(note.subject):20}",
        _shown(granted),
        "read-only" if note.read_only else "",
        f"until {instant_of(note.expires_at)}",
        _shown(note.label or ""),
    )
    return "  ".join(part for part in parts if part)


def _shown(text: str) -> str:
    """As much of a text as a line has room for; it may hold what would move the cursor."""
    plain = "".join(each if each.isprintable() else "?" for each in text)
    if len(plain) <= _SHOWN_CHARACTERS:
        return plain
    return plain[: _SHOWN_CHARACTERS - 3] + "..."


def _report(config: ServerConfig, token: str) -> TokenReport:
    from kailash_mcp_prod.auth.token_minting import inspect_token

    secret = config.jwt_secret
    return inspect_token(
        token,
        None if secret is None else secret.get_secret_value(),
        issuer=config.jwt_issuer,
        audience=config.audiences,
    )


def _end_of(report: TokenReport) -> float | None:
    ends = report.claims.get("exp")
    return float(ends) if report.verified and isinstance(ends, int | float) else None


def _readable(report: TokenReport) -> dict[str, Any]:
    """The claims, with times as people write them."""
    facts = dict(report.claims)
    for name in ("exp", "iat", "nbf"):
        value = facts.get(name)
        if isinstance(value, int | float) and 0 <= value < 1 << 36:
            facts[name] = instant_of(value)
    return facts


def _secret_of(config: ServerConfig) -> str:
    secret = config.jwt_secret.get_secret_value() if config.jwt_secret is not None else ""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"Tokens are signed with JWT_SECRET, which needs at least {MIN_SECRET_BYTES} bytes. "
            "Set the one of the servers."
        )
    return secret
