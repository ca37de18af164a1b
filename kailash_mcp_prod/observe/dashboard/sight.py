"""What of the server a principal may see and do on the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.sessions.identity import owner_digest

MONITOR: Final = "monitor:read"
MANAGE: Final = "monitor:write"


@dataclass(frozen=True, slots=True)
class Sight:
    """The rights of one principal here.

    `monitor` is the view of the whole server: its figures, circuits, audit and everybody's
    sessions. `manage` ends the sessions of others. `explain_others` asks why somebody else may do
    something. `sessions` and `workflows` are its own.
    """

    principal: Principal
    monitor: bool
    manage: bool
    explain_others: bool
    sessions: bool
    workflows: bool

    @classmethod
    def of(cls, policy: Policy, principal: Principal) -> Sight:
        """What the policy leaves a principal."""
        access = policy.access(principal)

        def granted(permission: str) -> bool:
            return access.grant_for(permission) is not None

        monitor = granted(MONITOR)
        return cls(
            principal,
            monitor,
            monitor and granted(MANAGE) and not access.read_only,
            "*" in access.grants,
            granted("session:read"),
            granted("workflow:read"),
        )

    @property
    def everybody(self) -> bool:
        """Whether the sessions of all are shown; a tenant's own monitor sees its own alone."""
        return self.monitor and self.principal.tenant is None

    def owner(self, *, own: bool, what: str) -> str | None:
        """Whose things are shown: `None` is everybody's.

        Args:
            own: Whether it may see its own.
            what: The permission for these.

        Raises:
            ForbiddenError: None are.
        """
        if self.everybody:
            return None
        if not own:
            raise ForbiddenError(
                f"This page needs the permission {MONITOR}, or {what} for your own.",
                details={"required": [MONITOR]},
            )
        return owner_digest(self.principal)

    def require_monitor(self) -> None:
        """Refuses who may not see the whole server.

        Raises:
            ForbiddenError: It may not.
        """
        if not self.monitor:
            raise ForbiddenError(
                f"This page needs the permission {MONITOR}.", details={"required": [MONITOR]}
            )

    def to_dict(self) -> dict[str, bool]:
        """As the pages have it."""
        return {
            "monitor": self.monitor,
            "everybody": self.everybody,
            "manage": self.manage,
            "explain_others": self.explain_others,
            "sessions": self.sessions or self.everybody,
            "workflows": self.workflows or self.everybody,
        }
