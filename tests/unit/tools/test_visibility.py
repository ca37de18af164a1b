"""Who may hear of a write, and who sees the same."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import AccessRule, Role
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.visibility import Visibility

KEY, OWNER, TENANT = [
    Field(name, FieldType(Kind.TEXT), "", required=False) for name in ("id", "owner", "tenant_id")
]
COMPANY = Model("Company", "companies", "", (KEY, OWNER))
OPEN = Visibility(Policy())


def of(tenant: str | None = None, *roles: str, **claims: Any) -> Principal:
    return Principal(
        "some",
        frozenset({"*"}),
        tenant=tenant,
        roles=frozenset(roles),
        claims=MappingProxyType(claims),
    )


@pytest.mark.parametrize(
    ("writer", "hearer", "hears"),
    [
        ("north", "north", True),
        ("north", "south", False),
        ("north", None, False),
        (None, None, False),
        (None, "north", False),
        ("", "", False),
    ],
)
def test_the_writer_s_tenant_alone_hears_of_a_multi_tenant_model(
    writer: str | None, hearer: str | None, hears: bool
) -> None:
    assert OPEN.may_hear(of(hearer), of(writer), replace(COMPANY, tenant=TENANT)) is hears
    assert OPEN.may_hear(of(hearer), of(writer), COMPANY)


def test_who_is_left_a_part_of_the_rows_hears_of_writes_in_the_same_part_alone() -> None:
    own = AccessRule(rows={"owner": "$claims.sub"}, except_roles=frozenset({"admin"}))
    seen = Visibility(Policy(rules={"Company": own}))
    alice, bob, admin = of(sub="alice"), of(sub="bob"), of(None, "admin", sub="root")

    assert seen.may_hear(alice, of(sub="alice", hobby="chess"), COMPANY)
    assert not seen.may_hear(alice, bob, COMPANY)
    assert not seen.may_hear(alice, admin, COMPANY)
    assert seen.may_hear(admin, alice, COMPANY)


def test_fields_that_a_rule_hides_are_no_part_of_the_model() -> None:
    hiding = Visibility(
        Policy({"guest": Role(rules={"Company": AccessRule(hide=frozenset({"owner"}))})})
    )
    assert [each.name for each in hiding.model(of(None, "guest"), COMPANY).fields] == ["id"]
    assert hiding.model(of(), COMPANY) is COMPANY
    assert hiding.kind(of(None, "guest")) != hiding.kind(of())
    assert hiding.outlook(of(None, "guest")) != hiding.outlook(of())
