"""Opaque bearer tokens from a list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from kailash_mcp_prod.auth.principal import Credentials, Principal


class BearerTokenProvider:
    """Recognises listed tokens in `Authorization: Bearer`, and nowhere else.

    Only digests of the tokens are kept, and a token is looked up by its digest: the time that
    takes says nothing about the tokens.

    Args:
        tokens: The tokens in plain text and whom they stand for.
    """

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        self._principals = {_digest(token): principal for token, principal in tokens.items()}

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        token = credentials.bearer_token
        return None if token is None else self._principals.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
