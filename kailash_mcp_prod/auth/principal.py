"""Who is calling: the only identity that the server believes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Owner = tuple[str, str | None, frozenset[str]]
"""Whose a session, a task or a state is: subject, tenant and permissions of a principal."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, or the anonymous one of a server without authentication.

    `subject` is unique among all credentials. `permissions` are grants such as `*`,
    `Company:read` or `tool:Company_create`. `rate_limit` is in calls a minute; `None` stands
    for the server's own limit. `tenant` names whose records of multi-tenant models are its own.
    `surface` is the surface of tools that it is shown where the request names none.
    """

    subject: str
    permissions: frozenset[str]
    method: str = "anonymous"
    rate_limit: int | None = None
    expires_at: float | None = None
    tenant: str | None = None
    surface: str | None = None
    claims: MappingProxyType[str, Any] = field(
        default_factory=lambda: MappingProxyType({}), compare=False
    )

    @property
    def owner(self) -> Owner:
        """Who alone may go on with what this principal has begun.

        Not the subject alone: another token of the same subject may reach less.
        """
        return self.subject, self.tenant, self.permissions


@dataclass(frozen=True, slots=True)
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
