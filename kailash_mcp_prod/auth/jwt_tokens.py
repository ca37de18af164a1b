"""JSON Web Tokens: who is calling, by a token that a known key has signed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import jwt

from kailash_mcp_prod.auth.chain import EXPIRED, NOT_VALID
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.signing_keys import SigningKey, SigningKeys
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules, instant
from kailash_mcp_prod.errors import UnauthenticatedError

MAX_TOKEN_LENGTH: Final = 8192
# A token without a key id is tried with this many keys.
_MAX_TRIES: Final = 8


class JwtProvider:
    """Recognises JSON Web Tokens by the keys that may sign them.

    `exp` and a text as `sub` are required, `nbf` is honoured. A verified token is remembered
    until its keys change, because verifying costs more than all else of a call.

    Args:
        sources: Where its keys come from, each with the prefix of the subjects for which those
            keys speak: the same name from another issuer is somebody else.
        rules: What a token must say.
        reader: What its claims mean.
        remembered: How many verified tokens are remembered.

    Example:
        `JwtProvider([("jwt", FixedKeys([shared_key(secret)]))])`
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, SigningKeys]],
        rules: TokenRules | None = None,
        reader: ClaimReader | None = None,
        *,
        remembered: int = 1024,
    ) -> None:
        self._sources = tuple(sources)
        self._rules = rules or TokenRules()
        self._reader = reader or ClaimReader()
        self._remembered = remembered
        self._known: dict[bytes, Principal] = {}
        self._versions = self._current_versions()
        self._decoder = _StrictJwt(
            {"require": ["exp", "sub"], "verify_aud": bool(self._rules.audiences)}
        )

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        token = credentials.bearer_token
        if token is None or token.count(".") != 2 or len(token) > MAX_TOKEN_LENGTH:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        versions = self._current_versions()
        if self._versions != versions:
            self._known.clear()
            self._versions = versions
        principal = self._known.pop(digest, None) or await self._verified(token)
        if principal is None:
            return None
        # To the end, so that the one used longest ago is the first to go.
        self._known[digest] = principal
        if len(self._known) > self._remembered:
            del self._known[next(iter(self._known))]
        return principal

    async def _verified(self, token: str) -> Principal | None:
        """The principal of a token; `None` when it is signed with no key that is known here."""
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            return None
        refusal: UnauthenticatedError | None = None
        for prefix, source in self._sources:
            for key in (await source.keys(algorithm, kid))[:_MAX_TRIES]:
                try:
                    return self._principal(self._claims(token, key), prefix)
                except jwt.InvalidSignatureError:
                    # Of several keys only one has signed it.
                    refusal = UnauthenticatedError(NOT_VALID)
        if refusal is not None:
            raise refusal
        return None

    def _claims(self, token: str, key: SigningKey) -> dict[str, Any]:
        try:
            return self._decoder.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audiences or None,
                leeway=self._rules.leeway_seconds,
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError(EXPIRED) from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            # PyJWT lets a few failures of Python's own pass, for odd numbers and texts.
            raise UnauthenticatedError(NOT_VALID) from None

    def _principal(self, claims: dict[str, Any], prefix: str) -> Principal:
        try:
            expires_at = instant(claims["exp"]) + self._rules.leeway_seconds
        except ValueError:
            raise UnauthenticatedError(NOT_VALID) from None
        if not claims["sub"].strip():
            raise UnauthenticatedError(NOT_VALID)
        return self._reader.principal(
            claims, subject=f"{prefix}:{claims['sub']}", method="jwt", expires_at=expires_at
        )

    def _current_versions(self) -> tuple[int, ...]:
        return tuple(source.version for _, source in self._sources)


class _StrictJwt(jwt.PyJWT):
    """PyJWT, but of a claim that is there twice it believes neither, and no number is infinite."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        try:
            claims = json.loads(
                decoded["payload"], object_pairs_hook=_unique, parse_constant=_refuse
            )
        except (ValueError, RecursionError):
            raise jwt.DecodeError("The payload is no JSON object.") from None
        if not isinstance(claims, dict):
            raise jwt.DecodeError("The payload is no JSON object.")
        return claims


def _header(token: str) -> dict[str, Any]:
    """The header as far as it can be read: it names a key, and is verified with it later."""
    segment = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
