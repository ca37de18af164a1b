"""What a principal may do: permissions, checked alike for lists and calls."""

from __future__ import annotations

from typing import Protocol

from kailash_mcp_prod.auth.principal import Principal

READ_OPERATIONS = frozenset({"read", "list", "count", "aggregate"})


class Guarded(Protocol):
    """Something that needs permissions, such as a tool."""

    @property
    def name(self) -> str:
        """The name that a `tool:NAME` grant means."""

    @property
    def permissions(self) -> tuple[str, ...]:
        """What is required, all of it, such as `Company:create`."""


class Policy:
    """Decides by the principal's grants.

    A grant is `*`, `tool:NAME`, or `SUBJECT:ACTION`, where either part may be `*` and the
    actions `read` (read, list, count, aggregate) and `write` (all others) stand for several
    operations.

    Example:
        A principal with `Company:read` may call `Company_list` and not `Company_create`.
    """

    def allows(self, principal: Principal, guarded: Guarded) -> bool:
        """Whether the principal holds every permission that is required."""
        grants = principal.permissions
        if "*" in grants or f"tool:{guarded.name}" in grants:
            return True
        return all(self._granted(grants, required) for required in guarded.permissions)

    @staticmethod
    def _granted(grants: frozenset[str], required: str) -> bool:
        subject, _, action = required.partition(":")
        actions = {action, "*", "read" if action in READ_OPERATIONS else "write"}
        return any(f"{who}:{what}" in grants for who in (subject, "*") for what in actions)
