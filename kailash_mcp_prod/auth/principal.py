"""Who is calling: the only identity that the server believes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Owner = tuple[str, str | None, frozenset[str], frozenset[str], bool, str]
"""Whose a session, a task or a state is: subject, tenant, grants and claims of a principal."""

OF_ONE_TOKEN = frozenset({"exp", "iat", "nbf", "jti", "auth_time", "nonce", "at_hash", "sid"})
"""Claims that differ from token to token of the same caller, and so tell no two callers apart."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, or the anonymous one of a server without authentication.

    `subject` is unique among all credentials. `permissions` are grants such as `*`,
    `Company:read` or `tool:Company_create`; `roles` are names of further sets of them in the
    configuration. With `read_only` none of them lets it write. `rate_limit` is in calls a minute;
    `None` stands for the server's own limit. `tenant` names whose records of multi-tenant models
    are its own. `surface` is the surface of tools that it is shown where the request names none.
    `credential_id` is what a minted key is revoked by.
    """

    subject: str
    permissions: frozenset[str]
    method: str = "anonymous"
    rate_limit: int | None = None
    expires_at: float | None = None
    tenant: str | None = None
    surface: str | None = None
    roles: frozenset[str] = frozenset()
    read_only: bool = False
    claims: MappingProxyType[str, Any] = field(
        default_factory=lambda: MappingProxyType({}), compare=False
    )
    credential_id: str | None = field(default=None, compare=False)
    claims_digest: str = field(init=False, default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepares what tells the claims of two credentials of one subject apart."""
        if self.claims:
            object.__setattr__(self, "claims_digest", _digest(self.claims))

    @property
    def agent_id(self) -> str | None:
        """The name that the credential gives the caller, if it gives one."""
        return self.subject.partition(":")[2] or None

    @property
    def owner(self) -> Owner:
        """Who alone may go on with what this principal has begun.

        Not the subject alone: another token of the same subject may reach less.
        """
        return (
            self.subject,
            self.tenant,
            self.permissions,
            self.roles,
            self.read_only,
            self.claims_digest,
        )


def _digest(claims: Mapping[str, Any]) -> str:
    """The same for all tokens that say the same, whenever and however often they were issued."""
    lasting = {name: value for name, value in claims.items() if name not in OF_ONE_TOKEN}
    text = json.dumps(lasting, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Not frozen, because one is made for each request, and that takes several times as long.
@dataclass(slots=True)
class Credentials:
    """What a transport found on a request, unverified. Values never appear in `repr`."""

    authorization: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    @property
    def bearer_token(self) -> str | None:
        """The token of an `Authorization: Bearer …` header, if that is what was sent."""
        scheme, _, token = (self.authorization or "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None


ANONYMOUS = Principal(subject="anonymous", permissions=frozenset({"*"}))

LOCAL = Principal(subject="local", permissions=frozenset({"*"}), method="local")
"""Python code in the server's own process, which no rule restricts."""
