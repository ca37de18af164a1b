"""What the state keeps of an API key; the key itself is not among it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

KeyState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A minted key. Times are Unix seconds.

    `digest` is the SHA-256 of the key in hexadecimal. `lineage` is the id of the key with which a
    chain of rotations began, and `replaced_by` that of the next in it. The rest is what it grants.
    """

    id: str
    digest: str = field(repr=False)
    lineage: str
    created_at: float
    agent_id: str | None = None
    tenant_id: str | None = None
    permissions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    read_only: bool = False
    rate_limit: int | None = None
    surface: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    replaced_by: str | None = None

    def state_at(self, now: float) -> KeyState:
        """Whether the key is good at that time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"
