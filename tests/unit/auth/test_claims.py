"""References to what a credential says."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from kailash_mcp_prod.auth.claims import MissingClaimError, bind
from kailash_mcp_prod.auth.principal import Principal

CLAIMS: dict[str, Any] = {
    "sub": "alice",
    "teams": ["a", "b"],
    "level": 3,
    "on": False,
    "org": {"unit": {"id": "u1"}},
    "empty": "",
    "none": None,
    "nothing": [],
    "holes": ["a", ""],
    "operators": {"$ne": "x"},
    "hidden": [{"$ne": "x"}],
}
ALICE = Principal("jwt:alice", frozenset(), tenant="t1", claims=MappingProxyType(CLAIMS))


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        ("$claims.sub", "alice"),
        ("$tenant", "t1"),
        ("$subject", "jwt:alice"),
        ("$claims.org.unit.id", "u1"),
        ({"a": {"$in": "$claims.teams"}}, {"a": {"$in": ["a", "b"]}}),
        ({"$or": [{"n": {"$gte": "$claims.level"}}, {"b": "$claims.on"}]},
         {"$or": [{"n": {"$gte": 3}}, {"b": False}]}),
        ("claims.sub", "claims.sub"),
        ("$claims.", "$claims."),
        ("$tenants", "$tenants"),
        ({"$claims.sub": 1}, {"$claims.sub": 1}),
    ],
)  # fmt: skip
def test_references_are_replaced_and_all_else_stays(value: Any, bound: Any) -> None:
    assert bind(value, ALICE) == bound


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "empty",
        "none",
        "nothing",
        "holes",
        "operators",
        "hidden",
        "org",
        "sub.x",
        "org.x",
    ],
)
def test_what_is_no_plain_value_counts_as_missing(name: str) -> None:
    with pytest.raises(MissingClaimError) as missing:
        bind({"a": f"$claims.{name}"}, ALICE)
    assert missing.value.reference == f"$claims.{name}"


def test_without_a_tenant_the_reference_to_it_is_missing() -> None:
    with pytest.raises(MissingClaimError):
        bind("$tenant", Principal("p", frozenset()))
