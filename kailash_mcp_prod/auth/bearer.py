"""Opaque bearer tokens from a list."""

from __future__ import annotations

from collections.abc import Mapping

from kailash_mcp_prod.auth.api_keys import configured_digest, digest_of
from kailash_mcp_prod.auth.principal import Credentials, Principal


class BearerTokenProvider:
    """Recognises listed tokens in `Authorization: Bearer`, and nowhere else.

    Only digests of the tokens are kept, and a token is looked up by its digest: the time that
    takes says nothing about the tokens.

    Args:
        tokens: The tokens, in plain text or as `sha256:` and the digest, and whom they stand for.
    """

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        self._principals = {
            configured_digest(token): principal for token, principal in tokens.items()
        }

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        token = credentials.bearer_token
        return None if token is None else self._principals.get(digest_of(token))
