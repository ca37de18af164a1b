"""Whose things are: digests of owners and of the names under which agents are invited."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL, Principal

_NO_CREDENTIAL: Final = frozenset({ANONYMOUS.subject, LOCAL.subject})


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


def address_digest(principal: Principal, name: str | None = None) -> str:
    """Where an invitation of an agent of the principal's own tenant goes.

    Args:
        principal: Whose tenant it is.
        name: The agent's; the principal's own when absent.
    """
    return _digest(["address", principal.tenant, _raw_name(principal) if name is None else name])


def has_credential(principal: Principal) -> bool:
    """Whether there is a credential that tells the caller from others."""
    return principal.subject not in _NO_CREDENTIAL


def _raw_name(principal: Principal) -> str:
    return principal.agent_id or principal.subject


def _storable(text: str) -> str:
    """Without what no database takes: a token may say more than is text."""
    return text[:255].encode("utf-8", "replace").decode().replace("\0", "?")


def _digest(parts: list[Any]) -> str:
    # Escaped, so that half a character has a digest too, and one of its own.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
