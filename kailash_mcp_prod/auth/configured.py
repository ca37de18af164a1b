"""The providers that the settings ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.api_keys import ApiKeyProvider, KeySource
from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.auth.challenge import Challenges, ProtectedResource
from kailash_mcp_prod.auth.configured_keys import configured_keys
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules
from kailash_mcp_prod.errors import ConfigError

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.signing_keys import SigningKey, SigningKeys
    from kailash_mcp_prod.config_tokens import TokenSettings

OWN_SUBJECTS = "jwt"
"""The prefix of subjects whose tokens are signed with `jwt_secret`."""

ISSUER_SUBJECTS = "idp"
"""That of subjects whose tokens an identity provider signs."""


@dataclass(slots=True)
class ConfiguredProviders:
    """Providers in the order in which they are asked, and what ends them."""

    providers: list[AuthProvider] = field(default_factory=list)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def close(self) -> None:
        """End what runs for them; they can be used again."""
        for close in self.closing:
            await close()


def configured_providers(
    config: TokenSettings, *, minted: KeySource | None = None
) -> ConfiguredProviders:
    """The providers of a server.

    Args:
        config: The settings.
        minted: Knows the API keys that were minted.

    Raises:
        ConfigError: A public key can't be read.
    """
    built = ConfiguredProviders()
    if not config.enable_auth:
        return built
    kinds = config.credential_kinds
    if "api_key" in kinds:
        keys = configured_keys(config.api_keys)
        built.providers.append(ApiKeyProvider(keys, minted if config.key_store else None))
    if "bearer" in kinds and config.bearer_tokens:
        from kailash_mcp_prod.auth.bearer import BearerTokenProvider

        built.providers.append(BearerTokenProvider(_bearers(config)))
    if "jwt" in kinds:
        _add_jwt(built, config)
    if "bearer" in kinds and config.introspection_url is not None:
        _add_introspection(built, config, config.introspection_url)
    return built


def configured_challenges(config: TokenSettings) -> Challenges:
    """What answers tell of the credential to get."""
    scopes = tuple(dict.fromkeys((*config.required_scopes, *config.scopes_supported)))
    resource = None
    if config.resource_url is not None and config.enable_auth:
        resource = ProtectedResource(config.resource_url, config.authorization_servers, scopes)
    return Challenges(resource, config.required_scopes or config.scopes_supported)


def configured_principals(config: TokenSettings) -> list[Principal]:
    """Who calls with the API keys and bearer tokens of the configuration."""
    keys = configured_keys(config.api_keys).values()
    return [*(key.principal() for key in keys), *_bearers(config).values()]


def _bearers(config: TokenSettings) -> dict[str, Principal]:
    """Whom the listed bearer tokens stand for, which are callers of their own."""
    principals = {}
    for token, entry in configured_keys(config.bearer_tokens).items():
        subject = f"bearer{entry.subject.removeprefix('key')}"
        principals[token] = replace(entry.principal(), subject=subject, method="bearer")
    return principals


def _add_jwt(built: ConfiguredProviders, config: TokenSettings) -> None:
    # Late, because a server that only knows API keys needs none of it.
    from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
    from kailash_mcp_prod.auth.signing_keys import FixedKeys, shared_key

    sources: list[tuple[str, SigningKeys]] = []
    if config.jwt_secret is not None:
        key = shared_key(config.jwt_secret.get_secret_value())
        sources.append((OWN_SUBJECTS, FixedKeys([key])))
    if config.jwt_public_key is not None:
        sources.append((ISSUER_SUBJECTS, FixedKeys(_public_keys(config.jwt_public_key))))
    if config.jwks_url is not None:
        from kailash_mcp_prod.auth.idp_client import IdpClient
        from kailash_mcp_prod.auth.jwks import MAX_BYTES, JwksKeys

        jwks = JwksKeys(
            IdpClient(config.jwks_url, max_bytes=MAX_BYTES),
            fresh_seconds=config.jwks_cache_seconds,
            stale_seconds=config.jwks_stale_seconds,
        )
        sources.append((ISSUER_SUBJECTS, jwks))
        built.closing.append(jwks.close)
    built.providers.append(JwtProvider(sources, _rules(config), _reader(config)))


def _add_introspection(built: ConfiguredProviders, config: TokenSettings, url: str) -> None:
    from kailash_mcp_prod.auth.idp_client import IdpClient
    from kailash_mcp_prod.auth.introspection import CONNECTIONS, MAX_BYTES, IntrospectionProvider

    secret = config.introspection_client_secret
    provider = IntrospectionProvider(
        IdpClient(url, max_bytes=MAX_BYTES, max_connections=CONNECTIONS),
        config.introspection_client_id or "",
        secret.get_secret_value() if secret is not None else "",
        _rules(config),
        _reader(config),
        remembered_seconds=config.introspection_cache_seconds,
    )
    built.providers.append(provider)
    built.closing.append(provider.close)


def _rules(config: TokenSettings) -> TokenRules:
    return TokenRules(config.jwt_issuer, config.audiences, config.jwt_leeway_seconds)


def _reader(config: TokenSettings) -> ClaimReader:
    return ClaimReader(config.tenant_claim, config.roles_claim, config.required_scopes)


def _public_keys(setting: str) -> list[SigningKey]:
    from kailash_mcp_prod.auth.signing_keys import keys_of_pem

    text = setting
    if "-----BEGIN" not in setting:
        try:
            text = Path(setting).read_text(encoding="ascii")
        except (OSError, ValueError) as failure:
            reason = failure.strerror if isinstance(failure, OSError) else "it is no text"
            raise ConfigError(f"jwt_public_key: the file can't be read: {reason}.") from None
    try:
        return keys_of_pem(text)
    except ValueError as problem:
        raise ConfigError(f"jwt_public_key {problem}.") from None
