"""The command `kailash-mcp-prod token`: JSON Web Tokens signed with the server's secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from kailash_mcp_prod.cli_credentials import (
    NOT_GOOD,
    AsJson,
    Claims,
    Config,
    Database,
    Models,
    Permissions,
    ReadOnly,
    Roles,
    SurfaceName,
    Tenant,
    claims_of,
    instant_of,
    open_store,
    print_facts,
    print_json,
    read_secret,
    run,
    seconds_of,
    settings,
    told,
    words,
)
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_tokens import MIN_SECRET_BYTES
from kailash_mcp_prod.errors import ConfigError, InvalidArgumentsError

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.token_minting import TokenReport

app = typer.Typer(
    name="token",
    no_args_is_help=True,
    add_completion=False,
    help="Mint, inspect and revoke JSON Web Tokens.",
)

_MAX_LIFE_SECONDS = 366 * 86_400


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
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Mint a token with JWT_SECRET and print it. It is kept nowhere."""
    with told(as_json=as_json):
        from kailash_mcp_prod.auth.token_minting import TokenGrants, mint_token

        loaded = settings(config, None, None)
        life = seconds_of(expires) if expires else loaded.jwt_expiration_hours * 3600
        if life > _MAX_LIFE_SECONDS:
            raise InvalidArgumentsError("A token lives for 366 days at most.")
        if not subject.strip():
            raise InvalidArgumentsError("The subject is empty.")
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
        minted = mint_token(_secret_of(loaded), grants, life)
    if as_json:
        print_json({"token": minted.text, "claims": minted.claims})
        return
    typer.echo(minted.text)
    ends = instant_of(minted.claims["exp"])
    typer.echo(f"This is token {minted.claims['jti']}, until {ends}. It is kept nowhere.", err=True)


@app.command()
def inspect(
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """Show the claims of a token on standard input, and whether it is good. Exit code 5: not."""

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
        typer.Option(help="The token's jti, instead of the token on standard input."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    models: Models = None,
    database_url: Database = None,
) -> None:
    """End a token, by its jti or given on standard input, on all servers within a second."""

    async def end() -> tuple[str, float | None]:
        from kailash_mcp_prod.auth.token_minting import MAX_JTI_LENGTH

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
        async with open_store(loaded, create=True) as store:
            await store.revoke_token(named, ends)
        return named, ends

    revoked, ends = run(end, as_json=as_json)
    if as_json:
        print_json({"jti": revoked, "revoked": True, "expires_at": instant_of(ends)})
    else:
        typer.echo(f"Token {revoked} is revoked.")


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
