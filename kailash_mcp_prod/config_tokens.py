"""The settings of tokens that others issue, and what must hold between those of credentials."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from kailash_mcp_prod.config_auth import AuthSettings
from kailash_mcp_prod.config_values import (
    ApiKeyEntry,
    Words,
    check_public_address,
    check_scopes,
    read_keys,
)

MIN_SECRET_BYTES: Final = 32


class TokenSettings(AuthSettings):
    """Who may call, with tokens of an identity provider too."""

    # See `AuthSettings`.
    model_config = SettingsConfigDict(defer_build=True)

    jwt_public_key: str | None = Field(
        None,
        repr=False,
        description=(
            "Public keys that verify JSON Web Tokens, in PEM form or as the path of a file with "
            "it: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA)."
        ),
    )
    jwks_url: str | None = Field(
        None, description="Address of the JSON Web Key Set of an identity provider."
    )
    jwks_cache_seconds: float = Field(
        300, ge=10, le=86_400, description="Age at which that key set is fetched again."
    )
    jwks_stale_seconds: float = Field(
        3600,
        ge=0,
        le=7 * 86_400,
        description="Age up to which it is used while it can't be fetched again.",
    )
    jwt_issuer: str | None = Field(
        None, min_length=1, description="The iss that each token of an issuer must have."
    )
    jwt_audience: Words = Field(
        (),
        description=(
            "What a token's aud must name one of; by default resource_url for tokens of an "
            "identity provider."
        ),
    )
    jwt_leeway_seconds: float = Field(
        10, ge=0, le=300, description="How far the clock of a token's issuer may be off."
    )
    roles_claim: str = Field(
        "roles", min_length=1, description="The claim of a token that names the caller's roles."
    )
    required_scopes: Words = Field(
        (), description="Scopes that each token must have; one without them gets 403."
    )
    scopes_supported: Words = Field(
        (), description="Scopes that clients are told they may ask for, such as Company:read."
    )
    resource_url: str | None = Field(
        None,
        description="Address of MCP as clients know it, for their authorization, with its path.",
    )
    authorization_servers: Words = Field(
        (), description="Issuers of tokens for resource_url; clients are sent there."
    )
    bearer_tokens: Annotated[dict[str, ApiKeyEntry], NoDecode, BeforeValidator(read_keys)] = Field(
        default_factory=dict,
        repr=False,
        description="Opaque bearer tokens as JSON, in the same form as api_keys.",
    )
    introspection_url: str | None = Field(
        None, description="Where an identity provider says what an opaque token is (RFC 7662)."
    )
    introspection_client_id: str | None = Field(None, min_length=1, description="Who asks there.")
    introspection_client_secret: SecretStr | None = Field(
        None, description="By what it is known there."
    )
    introspection_cache_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="How long its answer is used; so long a token lives that is revoked there.",
    )

    @property
    def credential_kinds(self) -> tuple[str, ...]:
        """What clients may present: what `auth_type` says, else what is configured."""
        if self.auth_type:
            return self.auth_type
        configured = {
            "jwt": self.jwt_secret or self.has_public_keys,
            "api_key": self.api_keys or self.key_store,
            "bearer": self.bearer_tokens or self.introspection_url,
        }
        return tuple(kind for kind, setting in configured.items() if setting)

    @property
    def has_public_keys(self) -> bool:
        """Whether others issue the tokens, whose keys we have."""
        return self.jwt_public_key is not None or self.jwks_url is not None

    @property
    def audiences(self) -> tuple[str, ...]:
        """Of which a token's `aud` must name one; none when it may name any."""
        issued_elsewhere = self.has_public_keys or self.introspection_url is not None
        if not self.jwt_audience and self.resource_url is not None and issued_elsewhere:
            return (self.resource_url,)
        return self.jwt_audience

    def check_credentials(self) -> None:
        """Checks that each kind of credential can be told from a wrong one.

        Raises:
            ValueError: One can't; the message says what to set.
        """
        kinds = self.credential_kinds
        if not kinds:
            raise ValueError(
                "authentication is on, but no credential is configured. Set JWT_SECRET or "
                "API_KEYS, turn key_store on, or say --no-auth for a server that only this "
                "machine reaches"
            )
        if "jwt" in kinds:
            self._check_jwt()
        if "api_key" in kinds and not (self.api_keys or self.key_store):
            raise ValueError("auth_type api_key needs keys. Set API_KEYS, or turn key_store on")
        if "bearer" in kinds:
            self._check_bearer()

    def check_resource(self) -> None:
        """Checks what clients are told of their authorization.

        Raises:
            ValueError: It is incomplete, or no address or scope.
        """
        check_scopes("required_scopes", self.required_scopes)
        check_scopes("scopes_supported", self.scopes_supported)
        if (self.resource_url is None) != (not self.authorization_servers):
            raise ValueError("resource_url and authorization_servers need each other")
        if self.resource_url is not None:
            check_public_address("resource_url", self.resource_url)
        for server in self.authorization_servers:
            check_public_address("authorization_servers", server)

    def _check_jwt(self) -> None:
        has_secret = self.jwt_secret is not None or not self.has_public_keys
        if has_secret and is_short(self.jwt_secret):
            raise ValueError(
                f"jwt_secret needs at least {MIN_SECRET_BYTES} bytes. Make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        if self.has_public_keys and not self.audiences:
            raise ValueError(
                "jwt_public_key and jwks_url need jwt_audience or resource_url: without it, tokens "
                "that were issued for other services would open this one"
            )
        if self.jwks_url is not None:
            check_public_address("jwks_url", self.jwks_url)

    def _check_bearer(self) -> None:
        if not self.bearer_tokens and self.introspection_url is None:
            raise ValueError("auth_type bearer needs bearer_tokens or introspection_url")
        if self.introspection_url is None:
            return
        check_public_address("introspection_url", self.introspection_url)
        if self.introspection_client_id is None or not self.introspection_client_secret:
            raise ValueError(
                "introspection_url needs introspection_client_id and introspection_client_secret"
            )


def is_short(secret: SecretStr | None) -> bool:
    """Whether a secret could be guessed from what it has signed."""
    return secret is None or len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES
