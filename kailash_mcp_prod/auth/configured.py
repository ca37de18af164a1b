"""The providers that the settings ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.api_keys import ApiKey, ApiKeyProvider
from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.auth.challenge import Challenges, ProtectedResource
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules
from kailash_mcp_prod.errors import ConfigError

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.signing_keys import SigningKey
    from kailash_mcp_prod.config_tokens import TokenSettings
    from kailash_mcp_prod.config_values import ApiKeyEntry

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
    config: TokenSettings, *, revoked: Callable[[str], bool] | None = None
) -> ConfiguredProviders:
    """The providers of a server.

    Args:
        config: The settings.
        revoked: Whether a JSON Web Token of this `jti` is revoked.

    Raises:
        ConfigError: A public key can't be read.
    """
    built = ConfiguredProviders()
    if not config.enable_auth:
        return built
    kinds = config.credential_kinds
    if "api_key" in kinds:
        built.providers.append(_api_keys(config))
    if "bearer" in kinds and config.bearer_tokens:
        built.providers.append(_bearer_tokens(config))
    if "jwt" in kinds:
        _add_jwt(built, config, revoked)
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
    keys = _principals(config.api_keys, "key", "api_key")
    return [*keys.values(), *_principals(config.bearer_tokens, "bearer", "bearer").values()]


def _api_keys(config: TokenSettings) -> AuthProvider:
    keys = {
        key: ApiKey(
            subject=each.subject,
            permissions=each.permissions,
            rate_limit=each.rate_limit,
            tenant=each.tenant,
            surface=each.surface,
        )
        for key, each in _principals(config.api_keys, "key", "api_key").items()
    }
    return ApiKeyProvider(keys)


def _bearer_tokens(config: TokenSettings) -> AuthProvider:
    from kailash_mcp_prod.auth.bearer import BearerTokenProvider

    return BearerTokenProvider(_principals(config.bearer_tokens, "bearer", "bearer"))


def _principals(
    entries: Mapping[str, ApiKeyEntry], prefix: str, method: str
) -> dict[str, Principal]:
    return {
        secret: Principal(
            subject=f"{prefix}:{entry.agent_id}" if entry.agent_id else f"{prefix}-{position}",
            permissions=frozenset(entry.permissions),
            method=method,
            rate_limit=entry.rate_limit,
            tenant=entry.tenant_id,
            surface=entry.surface,
        )
        for position, (secret, entry) in enumerate(entries.items(), start=1)
    }


def _add_jwt(
    built: ConfiguredProviders, config: TokenSettings, revoked: Callable[[str], bool] | None
) -> None:
    # Late, because a server that only knows API keys needs none of it.
    from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
    from kailash_mcp_prod.auth.signing_keys import FixedKeys, KeySource, shared_key

    sources: list[tuple[str, KeySource]] = []
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
    built.providers.append(JwtProvider(sources, _rules(config), _reader(config), revoked=revoked))


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
