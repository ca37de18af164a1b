"""API keys: what one stands for, how one is recognised, and what one looks like that we mint."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError

HASHED = "sha256:"
"""Stands before the digest where a key is configured without being written down."""

MIN_KEY_LENGTH = 16
_MIN_DIFFERENT = 8
_ID_BYTES = 8
_SECRET_BYTES = 32
_MINTED = re.compile(r"kmp_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key stands for.

    `rate_limit` is in calls a minute, `expires_at` a Unix time; the rest is as in `Principal`.
    """

    subject: str
    permissions: frozenset[str]
    rate_limit: int | None = None
    tenant: str | None = None
    surface: str | None = None
    roles: frozenset[str] = frozenset()
    read_only: bool = False
    expires_at: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def principal(self, credential_id: str | None = None) -> Principal:
        """Who calls with the key.

        Args:
            credential_id: What the key is revoked by, if it can be.
        """
        return Principal(
            subject=self.subject,
            permissions=self.permissions,
            method="api_key",
            rate_limit=self.rate_limit,
            expires_at=self.expires_at,
            tenant=self.tenant,
            surface=self.surface,
            roles=self.roles,
            read_only=self.read_only,
            claims=MappingProxyType(dict(self.claims)),
            credential_id=credential_id,
        )


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key: its public id, and the key itself, which nobody may keep but its owner."""

    id: str
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What is kept of the key."""
        return digest_of(self.text).hex()


class KeySource(Protocol):
    """Knows further keys than those of the configuration."""

    async def find(self, key: str) -> Principal | None:
        """Who calls with the key, if it is known.

        Raises:
            UnauthenticatedError: It was good once.
            UnavailableError: Nobody can tell at present.
        """


class ApiKeyProvider:
    """Recognises keys in `X-API-Key` or as a bearer token.

    Only digests of the keys are kept, and a key is looked up by its digest: the time that takes
    says nothing about the keys.

    Args:
        keys: The keys, in plain text or as `sha256:` and the digest, and what they stand for.
        minted: Knows the keys that were minted.
    """

    def __init__(self, keys: Mapping[str, ApiKey], minted: KeySource | None = None) -> None:
        self._principals = {
            configured_digest(key): entry.principal() for key, entry in keys.items()
        }
        self._minted = minted

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """See `AuthProvider.authenticate`."""
        key = credentials.api_key or credentials.bearer_token
        if not key:
            return None
        principal = self._principals.get(digest_of(key))
        if principal is None and self._minted is not None and minted_id(key) is not None:
            principal = await self._minted.find(key)
        if principal is None and credentials.api_key:
            raise UnauthenticatedError("The API key is not known. Ask the operator for a key.")
        return principal


def mint_key() -> MintedKey:
    """A new key, `kmp_<id>_<secret>`, of 256 random bits and a random id."""
    key_id = secrets.token_hex(_ID_BYTES)
    return MintedKey(key_id, f"kmp_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}")


def minted_id(key: str) -> str | None:
    """The id in a key that looks like a minted one."""
    found = _MINTED.fullmatch(key)
    return found[1] if found else None


def digest_of(key: str) -> bytes:
    """What is kept of a key. A minted one is too random to be found by trying."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def configured_digest(key: str) -> bytes:
    """The digest of a configured key, which may be written in either form.

    Raises:
        ValueError: It begins like a digest and is none.
    """
    if not key.startswith(HASHED):
        return digest_of(key)
    digits = key.removeprefix(HASHED).lower()
    if not _DIGEST.fullmatch(digits):
        raise ValueError("a hashed key is sha256: and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def is_weak(key: str) -> bool:
    """Whether a configured key in plain text is short or monotonous enough to be guessed."""
    if key.startswith(HASHED):
        return False
    return len(key) < MIN_KEY_LENGTH or len(set(key)) < _MIN_DIFFERENT


def subject_of_key(key: str, agent_id: str | None) -> str:
    """Whom a configured key stands for: the agent it names, else nobody but the key.

    Not its position: who moved to another one would get what belongs to somebody else.
    """
    if agent_id:
        return f"key:{agent_id}"
    return f"key-{hashlib.sha256(b'subject of ' + configured_digest(key)).hexdigest()[:32]}"
