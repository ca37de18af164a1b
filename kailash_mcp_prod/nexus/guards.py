"""Guards that a Nexus app has put before handlers, told who calls.

Nexus itself never tells them, so that behind its own endpoints they refuse everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kailash_mcp_prod.auth.principal import LOCAL, Principal
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

METHOD: Final = "nexus"
"""How Nexus's users are told from others, whose claims may say anything."""

USER_CLAIM: Final = "kailash_nexus_user"
"""Where the claims of a principal keep what Nexus said of its user."""


def passes(guard: Any, principal: Principal, workflow: str) -> bool:
    """Whether a guard lets a principal run a workflow; one that fails lets nobody."""
    if principal is LOCAL:
        return True
    told = principal.claims.get(USER_CLAIM) if principal.method == METHOD else None
    try:
        found = guard.check(_user(told), {"handler": workflow, **_context(told)})
    except Exception:
        log.exception("nexus_guard_broke", workflow=workflow)
        return False
    return found[0] is True if isinstance(found, tuple) else found is True


def _user(told: Any) -> Any:
    if not isinstance(told, Mapping):
        return None
    from kailash.trust.auth.models import AuthenticatedUser

    return AuthenticatedUser(
        user_id=told["user_id"],
        email=told["email"],
        roles=list(told["roles"]),
        permissions=list(told["permissions"]),
        tenant_id=told["tenant_id"],
        provider=told["provider"],
        raw_claims=dict(told["raw_claims"]),
    )


def _context(told: Any) -> dict[str, Any]:
    return {"rbac_permissions": told["rbac_permissions"]} if isinstance(told, Mapping) else {}
