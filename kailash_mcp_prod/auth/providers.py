"""Who is calling: the kinds of credentials, tried in turn by one authenticator."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

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
        # Late, because a server that only knows API keys needs none of it.
        import jwt

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
