"""Who is calling: API keys and JSON Web Tokens, tried in turn by one authenticator."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import jwt

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError

_JWT_ALGORITHM = "HS256"
_MAX_TENANT_LENGTH = 255
_NOT_VALID = "The token is not valid here. Get one from this server's operator."


class AuthProvider(Protocol):
    """Recognises one kind of credential.

    Example:
        ```python
        class Everybody:
            async def authenticate(self, credentials: Credentials) -> Principal | None:
                return Principal("everybody", frozenset({"*:read"}), method="none")
        ```
    """

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The principal, or `None` when the credential is not of this kind.

        Raises:
            UnauthenticatedError: It is of this kind and not good.
        """


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key stands for.

    `rate_limit` is in calls a minute; `tenant` and `surface` are as in `Principal`.
    """

    subject: str
    permissions: frozenset[str]
    rate_limit: int | None = None
    tenant: str | None = None
    surface: str | None = None


class ApiKeyProvider:
    """Recognises keys in `X-API-Key` or as a bearer token.

    Only digests of the keys are kept, and a key is looked up by its digest: the time that takes
    says nothing about the keys.

    Args:
        keys: The keys in plain text and what they stand for.
    """

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        self._principals = {
            _digest(key): Principal(
                subject=entry.subject,
                permissions=entry.permissions,
                method="api_key",
                rate_limit=entry.rate_limit,
                tenant=entry.tenant,
                surface=entry.surface,
            )
            for key, entry in keys.items()
        }

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        key = credentials.api_key or credentials.bearer_token
        principal = self._principals.get(_digest(key)) if key else None
        if principal is not None:
            return principal
        if credentials.api_key:
            raise UnauthenticatedError("The API key is not known. Ask the operator for a key.")
        return None


class JwtProvider:
    """Recognises JSON Web Tokens signed with the server's secret (HS256).

    `exp` and a text as `sub` are required; `permissions` is a list, or `scope` a text with
    spaces. A token without either allows nothing. `surface` names a surface of tools.

    Args:
        secret: The secret, at least 32 bytes.
        tenant_claim: The claim that names the tenant, a text of 1 to 255 characters; anything
            else in it counts as no tenant.
    """

    def __init__(self, secret: str, *, tenant_claim: str = "tenant_id") -> None:
        self._secret = secret
        self._tenant_claim = tenant_claim

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        token = credentials.bearer_token
        if token is None or token.count(".") != 2:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[_JWT_ALGORITHM],
                options={"require": ["exp", "sub"], "verify_aud": False},
            )
            expires_at = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("The token has expired. Get a new one.") from None
        except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError):
            # PyJWT lets a few failures of Python's own pass, for odd numbers and texts.
            raise UnauthenticatedError(_NOT_VALID) from None
        if not claims["sub"].strip() or isinstance(claims["exp"], str):
            raise UnauthenticatedError(_NOT_VALID)
        return Principal(
            subject=f"jwt:{claims['sub']}",
            permissions=_permissions(claims),
            method="jwt",
            expires_at=expires_at,
            tenant=_tenant(claims.get(self._tenant_claim)),
            surface=_text(claims.get("surface")),
            claims=MappingProxyType(claims),
        )


class CredentialChain:
    """The one authenticator of all transports: the first provider that knows a credential.

    Args:
        providers: In the order in which they are asked; none at all lets everybody in.
    """

    def __init__(self, providers: Sequence[AuthProvider]) -> None:
        self._providers = tuple(providers)

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials.

        Raises:
            UnauthenticatedError: They are missing, wrong or expired.
        """
        if not self._providers:
            return ANONYMOUS
        for provider in self._providers:
            principal = await provider.authenticate(credentials)
            if principal is not None:
                if principal.expires_at is not None and principal.expires_at <= time.time():
                    raise UnauthenticatedError("The credential has expired. Get a new one.")
                return principal
        raise UnauthenticatedError(
            "A credential is required: send X-API-Key, or Authorization: Bearer with a token."
        )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _tenant(claim: Any) -> str | None:
    return claim if isinstance(claim, str) and 0 < len(claim) <= _MAX_TENANT_LENGTH else None


def _text(claim: Any) -> str | None:
    return claim if isinstance(claim, str) else None


def _permissions(claims: Mapping[str, Any]) -> frozenset[str]:
    listed = claims.get("permissions")
    if isinstance(listed, list):
        return frozenset(each for each in listed if isinstance(each, str))
    scope = claims.get("scope")
    return frozenset(scope.split()) if isinstance(scope, str) else frozenset()
