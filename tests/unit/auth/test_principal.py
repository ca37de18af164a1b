"""What tells two credentials of one subject apart."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import Principal

ALICE = Principal(
    "alice",
    frozenset({"*:read"}),
    tenant="t1",
    claims=MappingProxyType({"sub": "alice", "team": "a", "exp": 10, "iat": 1, "jti": "x"}),
)


@pytest.mark.parametrize("own", [{"exp": 20}, {"iat": 2}, {"jti": "y"}, {"nbf": 3}])
def test_a_renewed_token_goes_on_with_what_the_first_began(own: dict[str, Any]) -> None:
    renewed = replace(ALICE, claims=MappingProxyType({**ALICE.claims, **own}))
    assert renewed.owner == ALICE.owner


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "bob"},
        {"tenant": "t2"},
        {"permissions": frozenset({"*"})},
        {"roles": frozenset({"admin"})},
        {"read_only": True},
        {"claims": MappingProxyType({**ALICE.claims, "team": "b"})},
        {"claims": MappingProxyType({})},
    ],
)
def test_whatever_may_reach_other_records_is_another_owner(other: dict[str, Any]) -> None:
    assert replace(ALICE, **other).owner != ALICE.owner


def test_odd_claims_have_a_digest_too() -> None:
    odd = {"name": "\ud800", "at": {1, 2}.__len__, "deep": [[[]]]}
    assert replace(ALICE, claims=MappingProxyType(odd)).claims_digest
