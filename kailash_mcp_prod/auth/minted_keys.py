"""Minted keys: whom one stands for, and which of several a name means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.api_keys import ApiKey
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConfigError

if TYPE_CHECKING:
    from kailash_mcp_prod.state.stored_key import StoredKey

_MAX_LISTED = 10


def principal_of(key: StoredKey) -> Principal:
    """Who calls with a minted key."""
    return ApiKey(
        subject=f"kmp:{key.agent_id}" if key.agent_id else f"kmp-{key.lineage}",
        permissions=frozenset(key.permissions),
        rate_limit=key.rate_limit,
        tenant=key.tenant_id,
        surface=key.surface,
        roles=frozenset(key.roles),
        read_only=key.read_only,
        expires_at=key.expires_at,
        claims=key.claims,
    ).principal(f"key:{key.id}")


def principal_named(keys: Sequence[StoredKey], name: str, now: float) -> Principal | None:
    """Who calls with the good key that a name means: first an id, then an agent, then a label.

    Args:
        keys: Whose id, agent or label it is; the newest first.
        name: The name.
        now: Unix seconds.

    Raises:
        ConfigError: It means several keys that do not stand for the same caller and grants.
    """
    good = [key for key in keys if key.state_at(now) == "active"]
    for meant in (
        [key for key in good if key.id == name],
        [key for key in good if key.agent_id == name],
        [key for key in good if key.label == name],
    ):
        callers = {principal_of(key).owner for key in meant}
        if len(callers) > 1:
            raise ConfigError(
                f"{name} means {len(meant)} minted keys, which differ in what they grant or for "
                f"whom: {', '.join(key.id for key in meant[:_MAX_LISTED])}. Name one by its id."
            )
        if meant:
            return principal_of(meant[0])
    return None
