"""The settings of who may call, and what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kailash_mcp_prod.config_access import AccessRules, Roles
from kailash_mcp_prod.config_values import ApiKeyEntry, Words, read_keys, split_words


class AuthSettings(BaseSettings):
    """Who may call, and what."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    enable_auth: bool = Field(True, description="Ask every client for a credential.")
    auth_type: Annotated[
        tuple[Literal["jwt", "api_key", "bearer", "custom"], ...],
        NoDecode,
        BeforeValidator(split_words),
    ] = Field(
        (),
        description=(
            "jwt, api_key, bearer, or custom for providers of your own, one or several; by default "
            "what is set."
        ),
    )
    jwt_secret: SecretStr | None = Field(
        None,
        validation_alias="jwt_secret",
        description="Secret that signs JSON Web Tokens (HS256), at least 32 bytes.",
    )
    jwt_expiration_hours: float = Field(24, gt=0, description="Life of the tokens we mint.")
    tenant_claim: str = Field(
        "tenant_id",
        min_length=1,
        description="The claim of a token that names the caller's tenant.",
    )
    api_keys: Annotated[dict[str, ApiKeyEntry], NoDecode, BeforeValidator(read_keys)] = Field(
        default_factory=dict,
        validation_alias="api_keys",
        repr=False,
        description=(
            'Keys as JSON: {"<key>": {"agent_id", "tenant_id", "permissions": ["*"], "roles", '
            '"read_only", "rate_limit", "surface", "claims", "expires_at"}}; "sha256:<digest>" '
            "stands for a key without saying it."
        ),
    )
    key_store: bool = Field(
        False,
        description=(
            "Take the API keys too that `kailash-mcp-prod key mint` keeps in the application's "
            "database, as digests."
        ),
    )
    roles: Roles = Field(
        default_factory=dict,
        description=(
            'Named sets of permissions as JSON: {"clerk": {"permissions": ["Quote:*"], '
            '"read_only", "access_rules"}}. Credentials name them in roles.'
        ),
    )
    access_rules: AccessRules = Field(
        default_factory=dict,
        description=(
            "Which records and fields of a model callers may reach, as JSON: "
            '{"Quote": {"rows": {"owner_id": "$claims.sub"}, "hide": ["margin"], "fill", '
            '"except_roles"}}.'
        ),
    )
    read_only: bool = Field(False, description="Offer no tool that changes anything, to nobody.")
    api_key: SecretStr | None = Field(
        None, description="The key with which this process itself calls (stdio, tools, call)."
    )
    token: SecretStr | None = Field(
        None, description="The bearer token with which this process itself calls."
    )
    insecure: bool = Field(
        False, description="Allow a network address without authentication. Anyone may do anything."
    )
    allowed_hosts: Words = Field(
        (), description="Further Host names under which the server is reached; * for any."
    )
    allowed_origins: Words = Field(
        (), description="Further web origins that may call, such as https://app.example.com."
    )
