"""Opaque bearer tokens of an identity provider, which is asked what they are (RFC 7662)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from kailash_mcp_prod.auth.backoff import Backoff
from kailash_mcp_prod.auth.chain import NOT_VALID
from kailash_mcp_prod.auth.idp_client import IdpClient, IdpError
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules, instant
from kailash_mcp_prod.errors import (
    InsufficientScopeError,
    UnauthenticatedError,
    UnavailableError,
)
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

MAX_BYTES: Final = 64 * 1024
CONNECTIONS: Final = 16
_MAX_TOKEN_LENGTH: Final = 8192
# As RFC 6750 has it.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_BAD_REQUEST: Final = 400
_MAX_ASKING: Final = 64
_KEPT_FOR_KNOWN: Final = 64
_REFUSED_SECONDS: Final = 10.0
_TOLERATED_FAILURES: Final = 2


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is known of a token, until when: a principal, a scope that it lacks, or no good."""

    until: float
    principal: Principal | None = None
    lacking: InsufficientScopeError | None = None


class IntrospectionProvider:
    """Recognises tokens by asking the one that has issued them.

    Good answers are remembered for a while, and bad ones shortly; each kind has a memory of its
    own, so that made-up tokens drive no good ones out. The same token is asked about once at a
    time.

    Args:
        client: Asks the address.
        client_id: Who asks.
        client_secret: By what the identity provider knows who asks.
        rules: What a token must say, as far as the answer tells.
        reader: What its claims mean.
        remembered_seconds: How long a good answer is used, at most until the token's end.
        remembered: How many answers of each kind are remembered.
        clock: Unix seconds.
    """

    def __init__(
        self,
        client: IdpClient,
        client_id: str,
        client_secret: str,
        rules: TokenRules | None = None,
        reader: ClaimReader | None = None,
        *,
        remembered_seconds: float = 60.0,
        remembered: int = 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # As RFC 6749 has it: both are form-encoded before they are put together.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._client = client
        self._rules = rules or TokenRules()
        self._reader = reader or ClaimReader()
        self._remembered_seconds = remembered_seconds
        self._remembered = remembered
        self._clock = clock
        self._good: dict[bytes, _Verdict] = {}
        self._bad: dict[bytes, _Verdict] = {}
        self._asking: dict[bytes, asyncio.Task[_Verdict | None]] = {}
        self._backoff = Backoff(_TOLERATED_FAILURES)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        token = credentials.bearer_token
        if token is None or len(token) > _MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            return None
        digest = hashlib.sha256(token.encode()).digest()
        verdict = self._remembers(digest) or await self._ask_once(digest, token)
        if verdict is None:
            raise self._unavailable()
        if verdict.lacking is not None:
            raise InsufficientScopeError(verdict.lacking.message, details=verdict.lacking.details)
        if verdict.principal is None:
            raise UnauthenticatedError(NOT_VALID)
        return verdict.principal

    async def close(self) -> None:
        """End all questions that are under way."""
        asking = set(self._asking.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
        await self._client.close()

    def _remembers(self, digest: bytes) -> _Verdict | None:
        for memory in (self._good, self._bad):
            verdict = memory.pop(digest, None)
            if verdict is not None:
                # To the end, so that the one used longest ago is the first to go.
                memory[digest] = verdict
                if self._clock() < verdict.until:
                    return verdict
        return None

    def _remember(self, digest: bytes, verdict: _Verdict) -> None:
        memory, other = self._good, self._bad
        if verdict.principal is None:
            memory, other = other, memory
        other.pop(digest, None)
        memory[digest] = verdict
        if len(memory) > self._remembered:
            del memory[next(iter(memory))]

    async def _ask_once(self, digest: bytes, token: str) -> _Verdict | None:
        """The answer; `None` when there is none at the moment."""
        asking = self._asking.get(digest)
        if asking is None:
            # Whoever makes up tokens must not keep those out that were good a while ago.
            room = _MAX_ASKING + (_KEPT_FOR_KNOWN if digest in self._good else 0)
            if len(self._asking) >= room or not self._backoff.attempt():
                return None
            asking = self._asking[digest] = asyncio.create_task(
                self._ask(digest, token), name="introspection"
            )
        # It goes on when the one who waits is gone: others may wait too.
        await asyncio.wait({asking})
        return None if asking.cancelled() else asking.result()

    async def _ask(self, digest: bytes, token: str) -> _Verdict | None:
        try:
            question = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
            try:
                claims = _claims(await self._client.ask("POST", self._headers, question))
            except IdpError as failure:
                log.warning("introspection_failed", reason=str(failure))
                if failure.status != _BAD_REQUEST:
                    self._backoff.failed()
                    return None
                # It is about this token: whoever shows odd ones must not have others wait.
                claims = {"active": False}
            self._backoff.succeeded()
            verdict = self._verdict(claims)
            self._remember(digest, verdict)
            return verdict
        finally:
            del self._asking[digest]

    def _verdict(self, claims: dict[str, Any]) -> _Verdict:
        now = self._clock()
        bad = _Verdict(now + min(_REFUSED_SECONDS, self._remembered_seconds))
        subject = _subject(claims)
        if claims.get("active") is not True or subject is None:
            return bad
        leeway = self._rules.leeway_seconds
        try:
            expires_at = instant(claims["exp"]) + leeway if "exp" in claims else None
            early = "nbf" in claims and instant(claims["nbf"]) > now + leeway
        except ValueError:
            return bad
        if early or (expires_at is not None and expires_at <= now) or not self._rules.fit(claims):
            return bad
        try:
            principal = self._reader.principal(
                claims, subject=subject, method="bearer", expires_at=expires_at
            )
        except InsufficientScopeError as lacking:
            return _Verdict(bad.until, lacking=lacking)
        until = now + self._remembered_seconds
        return _Verdict(until if expires_at is None else min(until, expires_at), principal)

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            "The token can't be checked at the moment: its issuer does not answer. Try again.",
            retry_after_seconds=max(self._backoff.wait_seconds(), 1.0),
        )


def _claims(body: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(body)
    except (ValueError, RecursionError):
        raise IdpError("its answer is no JSON") from None
    if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
        raise IdpError("its answer does not say whether the token is active")
    return claims


def _subject(claims: dict[str, Any]) -> str | None:
    """Who the token speaks for: its subject, or the client itself if it has none."""
    for claim, prefix in (("sub", "oauth"), ("client_id", "oauth-client")):
        name = claims.get(claim)
        if name is not None:
            return f"{prefix}:{name}" if isinstance(name, str) and name.strip() else None
    return None
