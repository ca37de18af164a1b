from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.auth.rules import AccessRule, Role
from kailash_mcp_prod.errors import ConfigError, ForbiddenError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.query import holds
from kailash_mcp_prod.records.scope import OPEN
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.scopes import Scopes, check_rules

KEY = Field("id", FieldType(Kind.TEXT), "Key.", required=False)
SHARED = Model("Note", "notes", "A note.", (KEY,))
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "Owner.", required=True, read_only=True)
OWNED = replace(SHARED, tenant=TENANT)
SCOPES = Scopes(Policy())
OURS = Principal("p", frozenset({"*"}), tenant="ours")


def test_a_model_without_tenants_is_open_to_everybody() -> None:
    assert SCOPES.of(SHARED, OURS) is OPEN
    assert SCOPES.of(SHARED, ANONYMOUS) is OPEN


def test_a_tenant_reaches_its_own_records_and_makes_no_others() -> None:
    scope = SCOPES.of(OWNED, OURS)

    assert holds(scope.rows, {"tenant_id": "ours"}) is True
    assert holds(scope.rows, {"tenant_id": "theirs"}) is False
    assert holds(scope.rows, {"tenant_id": None}) is None
    assert scope.values == {"tenant_id": "ours"}


@pytest.mark.parametrize("principal", [ANONYMOUS, replace(OURS, tenant=None)])
def test_a_credential_without_a_tenant_reaches_nothing(principal: Principal) -> None:
    with pytest.raises(ForbiddenError, match=r"Note .* names no tenant.*tenant_id"):
        SCOPES.of(OWNED, principal)


def test_an_empty_tenant_is_none() -> None:
    with pytest.raises(ForbiddenError):
        SCOPES.of(OWNED, replace(OURS, tenant=""))


QUOTE = Model(
    "Quote",
    "quotes",
    "A quote.",
    (
        KEY,
        Field("owner", FieldType(Kind.TEXT), "Owner.", required=True),
        Field("total", FieldType(Kind.DECIMAL), "Total.", required=False),
        Field("team", FieldType(Kind.INTEGER), "Team.", required=False),
    ),
)


def ruled(rule: AccessRule) -> Scopes:
    return Scopes(Policy(rules={"Quote": rule}))


def claiming(**claims: Any) -> Principal:
    return Principal("p", frozenset({"*"}), claims=MappingProxyType(claims))


def test_rows_are_bound_to_the_claims_and_checked_after_writes() -> None:
    scopes = ruled(AccessRule(rows={"owner": "$claims.sub", "team": {"$in": "$claims.teams"}}))
    scope = scopes.of(QUOTE, claiming(sub="alice", teams=[1, 2]))

    assert scope.check is not None
    assert holds(scope.rows, {"owner": "alice", "team": 2}) is True
    assert holds(scope.rows, {"owner": "alice", "team": 3}) is False
    assert holds(scope.rows, {"owner": "bob", "team": 2}) is False
    assert scopes.of(QUOTE, claiming(sub="bob", teams=[3])).rows != scope.rows


def test_filled_values_are_of_the_fields_type() -> None:
    scopes = ruled(AccessRule(fill={"owner": "$claims.sub", "total": "1.50"}))
    scope = scopes.of(QUOTE, claiming(sub="alice"))
    assert scope.values == {"owner": "alice", "total": Decimal("1.50")}
    assert scope.check is None


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"sub": {"$ne": "x"}}, {"sub": None}])
@pytest.mark.parametrize(
    "rule", [{"rows": {"owner": "$claims.sub"}}, {"fill": {"owner": "$claims.sub"}}]
)
def test_without_the_claim_nothing_is_reached(rule: dict[str, Any], claims: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError, match=r"depends on claims\.sub"):
        ruled(AccessRule(**rule)).of(QUOTE, claiming(**claims))


def test_a_claim_of_another_type_reaches_nothing() -> None:
    with pytest.raises(ForbiddenError, match="can't be compared"):
        ruled(AccessRule(rows={"team": "$claims.team"})).of(QUOTE, claiming(team="red"))


def test_rules_and_tenant_hold_together() -> None:
    owned = replace(QUOTE, tenant=TENANT)
    scope = ruled(AccessRule(rows={"owner": "$claims.sub"})).of(
        owned, replace(claiming(sub="alice"), tenant="ours")
    )
    assert holds(scope.rows, {"owner": "alice", "tenant_id": "ours"}) is True
    assert holds(scope.rows, {"owner": "alice", "tenant_id": "theirs"}) is False
    assert holds(scope.rows, {"owner": "bob", "tenant_id": "ours"}) is False


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"hide": frozenset({"margin"})}, "margin"),
        ({"hide": frozenset({"id"})}, "id"),
        ({"fill": {"margin": 1}}, "margin"),
        ({"fill": {"total": "much"}}, "fill.total"),
        ({"rows": {"margin": 1}}, "margin"),
        ({"rows": {"owner": {"$regex": "a"}}}, "regex"),
        ({"rows": {"team": "red"}}, "team"),
        ({"rows": {"$and": []}}, "and"),
        ({"rows": {"$not": {"owner": {"$gt": ["$claims.sub"]}}}}, "owner"),
        # Of two tokens of one caller, the second would get what the first may reach.
        ({"rows": {"$or": [{"owner": {"$in": "$claims.sid"}}]}}, "sid differs between tokens"),
        ({"fill": {"owner": "$claims.jti.part"}}, "jti.part differs between tokens"),
    ],
)
def test_a_rule_that_can_not_be_applied_stops_the_start(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"access_rules: the rule for Quote: .*{said}"):
        check_rules(Policy(rules={"Quote": AccessRule(**rule)}), [QUOTE])


def test_a_rule_for_a_model_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="no model Quotes"):
        check_rules(Policy({"r": Role(rules={"Quotes": AccessRule()})}), [QUOTE])


@pytest.mark.parametrize(
    "rows",
    [
        {"owner": "$claims.sub"},
        {"team": {"$in": "$claims.teams"}, "total": {"$lt": "$claims.limit"}},
        {"$or": [{"owner": "$subject"}, {"$not": {"team": {"$nin": [1, "$claims.team"]}}}]},
        {"owner": {"$null": True}},
    ],
)
def test_rules_with_references_are_good_wherever_a_value_may_stand(rows: dict[str, Any]) -> None:
    check_rules(Policy(rules={"Quote": AccessRule(rows=rows)}), [QUOTE])
