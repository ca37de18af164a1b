"""The one place that decides who is calling: providers, asked in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError

NOT_VALID: Final = (
    "The credential is not valid here. Get one that this server's operator has given out."
)
"""All that is said of a wrong credential, whatever is wrong with it."""

EXPIRED: Final = "The credential has expired. Get a new one."


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
            ForbiddenError: It is good, and not for this server.
            UnavailableError: That can't be told at the moment.
        """


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
            ForbiddenError: They are good, and not for this server.
            UnavailableError: Who could tell does not answer.
        """
        if not self._providers:
            return ANONYMOUS
        try:
            return await self._recognise(credentials)
        except UnauthenticatedError as error:
            error.token_sent = credentials.bearer_token is not None
            raise

    async def _recognise(self, credentials: Credentials) -> Principal:
        for provider in self._providers:
            principal = await provider.authenticate(credentials)
            if principal is not None:
                if principal.expires_at is not None and principal.expires_at <= time.time():
                    raise UnauthenticatedError(EXPIRED)
                return principal
        if credentials.bearer_token is not None:
            raise UnauthenticatedError(NOT_VALID)
        raise UnauthenticatedError(
            "A credential is required: send X-API-Key, or Authorization: Bearer with a token."
        )
