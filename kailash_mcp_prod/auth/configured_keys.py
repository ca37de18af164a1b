"""The API keys of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kailash_mcp_prod.auth.api_keys import ApiKey, subject_of_key

if TYPE_CHECKING:
    from kailash_mcp_prod.config_values import ApiKeyEntry


def configured_keys(entries: Mapping[str, ApiKeyEntry]) -> dict[str, ApiKey]:
    """What each configured key stands for. Keys that name the same agent are keys of one caller."""
    return {
        key: ApiKey(
            subject=subject_of_key(key, entry.agent_id),
            permissions=frozenset(entry.permissions),
            rate_limit=entry.rate_limit,
            tenant=entry.tenant_id,
            surface=entry.surface,
            roles=frozenset(entry.roles),
            read_only=entry.read_only,
            expires_at=entry.expires_at.timestamp() if entry.expires_at else None,
            claims=entry.claims,
        )
        for key, entry in entries.items()
    }
