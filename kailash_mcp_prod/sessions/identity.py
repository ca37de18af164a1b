"""Whose things are: digests of owners and of the names under which agents are invited."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from kailash_mcp_prod.auth.principal import Principal


def owner_digest(principal: Principal) -> str:
    """The same for all credentials of one owner (`Principal.owner`), and for no other.

    It is stored in place of the owner, whose claims are nothing for a table.
    """
    subject, tenant, permissions, roles, read_only, claims = principal.owner
    return _digest(
        ["owner", subject, tenant, sorted(permissions), sorted(roles), read_only, claims]
    )


def name_of(principal: Principal) -> str:
    """The name under which others know the caller: its agent's, else its subject."""
    return _storable(_raw_name(principal))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who takes part in a collaboration.

    `owner` is whose the part is once it is taken; `address` is where invitations of the agent go;
    `name` is what others call it.
    """

    owner: str
    address: str
    name: str
    tenant: str | None

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """The caller that a credential stands for."""
        return cls(
            owner_digest(principal),
            address_of(principal.tenant, _raw_name(principal)),
            name_of(principal),
            principal.tenant,
        )


def address_of(tenant: str | None, name: str) -> str:
    """Where invitations of an agent go: tenants never meet, whatever their agents are called."""
    return _digest(["address", tenant, name])


def _raw_name(principal: Principal) -> str:
    return principal.agent_id or principal.subject


def _storable(text: str) -> str:
    """Without what no database takes: a token may say more than is text."""
    return text[:255].encode("utf-8", "replace").decode().replace("\0", "?")


def _digest(parts: list[Any]) -> str:
    # Escaped, so that half a character has a digest too, and one of its own.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
