from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.sessions.identity import Caller, address_of, name_of, owner_digest

AGENT = Principal("key:sales", frozenset({"a", "b"}), tenant="acme", roles=frozenset({"r", "q"}))


def test_an_owner_has_one_digest_and_no_two_share_one() -> None:
    others = [
        AGENT,
        replace(AGENT, subject="jwt:sales"),
        replace(AGENT, tenant=None),
        replace(AGENT, tenant="other"),
        replace(AGENT, permissions=frozenset({"a"})),
        replace(AGENT, permissions=frozenset({"a,b"})),
        replace(AGENT, roles=frozenset()),
        replace(AGENT, roles=AGENT.permissions, permissions=AGENT.roles),
        replace(AGENT, read_only=True),
        replace(AGENT, claims=MappingProxyType({"user": "a"})),
        replace(AGENT, claims=MappingProxyType({"user": "b"})),
        replace(AGENT, subject="key:\ud800"),
        replace(AGENT, subject="key:\\ud800"),
    ]

    assert len({owner_digest(each) for each in others}) == len(others)
    again = replace(AGENT, method="key", rate_limit=5, expires_at=1.0, surface="compact")
    assert owner_digest(again) == owner_digest(AGENT)


def test_an_address_is_of_a_tenant_and_a_name() -> None:
    caller = Caller.of(AGENT)

    assert caller.name == "sales"
    assert caller.address == address_of("acme", "sales")
    assert len({address_of(tenant, "sales") for tenant in ("acme", "other", "", None)}) == 4
    assert Caller.of(replace(AGENT, permissions=frozenset())).address == caller.address


def test_a_name_can_be_stored_whatever_the_credential_says() -> None:
    assert name_of(ANONYMOUS) == "anonymous"
    odd = Principal("jwt:a\0\ud800" + "x" * 300, frozenset())
    assert name_of(odd) == ("a??" + "x" * 300)[:255]
    long = replace(odd, subject=odd.subject + "y")
    assert name_of(long) == name_of(odd)
    assert Caller.of(long).address != Caller.of(odd).address
