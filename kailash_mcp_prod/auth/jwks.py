"""The keys of an identity provider, from its JSON Web Key Set.

Fetched when first needed, and again in the background when they have become old. A token with an
unknown key id may mean new keys, so it has them fetched at once, but not twice in half a minute:
whoever makes up key ids neither floods the provider nor keeps anybody else waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from kailash_mcp_prod.auth.backoff import Backoff
from kailash_mcp_prod.auth.idp_client import IdpClient, IdpError
from kailash_mcp_prod.auth.signing_keys import PUBLIC, SigningKey, keys_of_jwks
from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

MAX_BYTES: Final = 256 * 1024
_HEADERS: Final = {"Accept": "application/jwk-set+json, application/json"}
_REPEAT_SECONDS: Final = 30.0
_MAX_WAITING: Final = 100


class JwksKeys:
    """A `SigningKeys` over a key set's address.

    Args:
        client: Asks the address.
        fresh_seconds: After how long the keys are fetched again.
        stale_seconds: For how long they are used while they can't be fetched again.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: IdpClient,
        *,
        fresh_seconds: float = 300.0,
        stale_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = max(stale_seconds, fresh_seconds)
        self._clock = clock
        self._backoff = Backoff(clock=clock)
        self._found: tuple[SigningKey, ...] = ()
        self._body = b""
        self._version = 0
        self._fetched_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def version(self) -> int:
        """See `SigningKeys.version`; keys that are too old change too."""
        if self._fetched_at is not None and self._age() > self._stale_seconds:
            self._forget()
        return self._version

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[SigningKey]:
        """See `SigningKeys.keys`."""
        if algorithm not in PUBLIC:
            return ()
        if self._fetched_at is None or self._age() > self._stale_seconds:
            await self._wait(self._begin())
            if self._fetched_at is None or self._age() > self._stale_seconds:
                raise UnavailableError(
                    "Tokens can't be verified at the moment: their issuer's keys are out of reach.",
                    retry_after_seconds=max(self._backoff.wait_seconds(), 1.0),
                )
        elif self._age() > self._fresh_seconds:
            self._begin()
        found = self._select(algorithm, kid)
        if not found and kid is not None:
            fresh = self._age() < _REPEAT_SECONDS
            await self._wait(self._fetching if fresh else self._begin())
            found = self._select(algorithm, kid)
        return found

    async def close(self) -> None:
        """End what runs; the keys that are there stay."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait({fetching})
        await self._client.close()

    def _select(self, algorithm: str, kid: str | None) -> list[SigningKey]:
        return [
            key
            for key in self._found
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
        ]

    def _age(self) -> float:
        return self._clock() - (self._fetched_at or 0.0)

    def _forget(self) -> None:
        self._found, self._body = (), b""
        self._fetched_at = None
        self._version += 1

    def _begin(self) -> asyncio.Task[None] | None:
        """The fetch that runs, or a new one; `None` while the provider is left alone."""
        if self._fetching is None and self._backoff.attempt():
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        return self._fetching

    async def _wait(self, fetching: asyncio.Task[None] | None) -> None:
        """Wait for the fetch, which goes on when the one who waits is gone."""
        if fetching is None or self._waiting >= _MAX_WAITING:
            return
        self._waiting += 1
        try:
            await asyncio.wait({fetching})
        finally:
            self._waiting -= 1

    async def _fetch(self) -> None:
        try:
            try:
                body = await self._client.ask("GET", _HEADERS)
                found = tuple(keys_of_jwks(body))
            except (IdpError, ValueError) as failure:
                self._backoff.failed()
                log.warning("jwks_not_fetched", reason=str(failure))
                return
            self._backoff.succeeded()
            self._fetched_at = self._clock()
            if body != self._body:
                self._body, self._found = body, found
                self._version += 1
        finally:
            self._fetching = None
