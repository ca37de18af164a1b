from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.observe.dashboard.sight import Sight
from kailash_mcp_prod.sessions.identity import owner_digest


def sight(*permissions: str, tenant: str | None = None, read_only: bool = False) -> Sight:
    who = Principal("key:a", frozenset(permissions), tenant=tenant, read_only=read_only)
    return Sight.of(Policy(), who)


@pytest.mark.parametrize(
    ("permissions", "monitor", "manage", "explain_others"),
    [
        (("*",), True, True, True),
        (("monitor:*",), True, True, False),
        (("monitor:read",), True, False, False),
        (("monitor:write",), False, False, False),
        (("Company:*", "session:*", "workflow:*"), False, False, False),
        ((), False, False, False),
    ],
)
def test_grants_decide_what_is_seen(
    permissions: tuple[str, ...], monitor: bool, manage: bool, explain_others: bool
) -> None:
    found = sight(*permissions)

    assert (found.monitor, found.manage, found.explain_others) == (monitor, manage, explain_others)


def test_who_may_only_read_manages_nothing() -> None:
    assert not sight("*", read_only=True).manage


def test_whose_things_are_shown() -> None:
    assert sight("monitor:read").owner(own=False, what="session:read") is None
    own = sight("session:read")
    assert own.owner(own=own.sessions, what="session:read") == owner_digest(own.principal)
    tenants = sight("*", tenant="north")
    assert tenants.owner(own=True, what="session:read") == owner_digest(tenants.principal)
    with pytest.raises(ForbiddenError, match="monitor:read, or session:read"):
        sight("Company:read").owner(own=False, what="session:read")
    with pytest.raises(ForbiddenError, match="monitor:read"):
        sight("session:*").require_monitor()
    sight("monitor:read").require_monitor()
