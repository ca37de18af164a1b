"""Why a principal may call a tool, or not."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import AccessRule, Role
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import TRAITS, Operation
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.explaining import Explainer
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.spec import Hints, ToolSpec
from tests.unit.tools.sample_tools import tool

TEXT = FieldType(Kind.TEXT)
NOTE = Model(
    "Note",
    "notes",
    "",
    (
        Field("id", TEXT, "", required=False),
        Field("owner", TEXT, "", required=True),
        Field("text", TEXT, "", required=False),
    ),
    unique_keys=(("id",),),
)


def made(model: Model) -> list[ToolSpec]:
    return [
        replace(
            tool(f"Note_{each}", permissions=(f"Note:{each}",), group="Note"),
            operation=str(each),
            hints=Hints(TRAITS[each].access == "read", destructive=False, idempotent=True),
        )
        for each in (Operation.LIST, Operation.CREATE)
        if each is Operation.LIST or model.creatable
    ]


def explainer(rule: AccessRule | None = None, **roles: Role) -> Explainer:
    policy = Policy(roles, {"Note": rule} if rule else {})
    tools = [*ModelFamily(NOTE, made).adopt(made(NOTE)), tool("ping", permissions=())]
    return Explainer(policy, {each.name: each for each in tools})


def who(grants: str = "Note:*", **given: Any) -> Principal:
    return Principal("p", frozenset(grants.split()), **given)


def test_a_grant_is_named_for_each_permission() -> None:
    found = explainer().explain(who("Note:read"), "Note_list")
    assert found.allowed
    assert found.granted == {"Note:list": "Note:read"}
    assert explainer().explain(who("tool:Note_list"), "Note_list").granted == {
        "Note:list": "tool:Note_list"
    }
    assert explainer().explain(who(""), "ping").allowed


@pytest.mark.parametrize(
    ("explained", "principal", "name", "reason"),
    [
        (explainer(), who("Note:read"), "Note_create", "No grant covers Note:create"),
        (explainer(), who(read_only=True), "Note_create", "read-only"),
        (explainer(), who(), "Note_erase", "no such tool"),
        (explainer(AccessRule(hide=frozenset({"owner"}))), who(), "Note_create", "hides a field"),
        (explainer(AccessRule(rows={"owner": "$claims.sub"})), who(), "Note_list", "claims.sub"),
    ],
)
def test_the_reason_of_a_refusal_is_given(
    explained: Explainer, principal: Principal, name: str, reason: str
) -> None:
    found = explained.explain(principal, name)
    assert not found.allowed
    assert found.reason is not None
    assert reason in found.reason


def test_what_is_left_of_the_records_is_shown_with_the_credentials_values() -> None:
    rule = AccessRule(
        rows={"owner": "$claims.sub"}, hide=frozenset({"text"}), fill={"owner": "$claims.sub"}
    )
    alice = who(claims=MappingProxyType({"sub": "alice"}))
    found = explainer(rule).explain(alice, "Note_list", {"filter": {"owner": "bob"}})
    assert found.allowed
    assert found.rows == ({"owner": "alice"},)
    assert found.hidden == ("text",)
    assert found.filled == {"owner": "alice"}
    for refused in ({"filter": {"text": "x"}}, {"limit": 0}, {"other": 1}):
        assert not explainer(rule).explain(alice, "Note_list", refused).allowed
