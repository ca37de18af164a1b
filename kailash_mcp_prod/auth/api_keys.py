"""API keys: what they stand for, and how a caller is known by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError


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


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
