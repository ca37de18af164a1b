"""Who calls is told by the credential, whatever the arguments say."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL, Principal
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.tools.claimed_agent import without_claimed_agent
from kailash_mcp_prod.tools.spec import ToolCall

SALES = Principal("key:sales", frozenset({"*"}), method="api_key")
NAMELESS = Principal("key-1", frozenset({"*"}), method="api_key")


def call(principal: Principal, **arguments: Any) -> ToolCall:
    return ToolCall(principal, {"id": "c1", **arguments}, "r1")


@pytest.mark.parametrize("principal", [SALES, ANONYMOUS, LOCAL])
def test_an_agent_may_say_its_own_name_which_reaches_no_tool(principal: Principal) -> None:
    claimed = without_claimed_agent(call(principal, _agent_id="sales"))

    assert claimed == call(principal)


def test_a_call_without_the_claim_stays_as_it_is() -> None:
    plain = call(SALES)

    assert without_claimed_agent(plain) is plain


@pytest.mark.parametrize("claimed", ["boss", "key:sales", "Sales", "", 7, ["sales"], {"a": 1}])
def test_nobody_acts_under_another_name(claimed: Any) -> None:
    for principal in (SALES, NAMELESS):
        with pytest.raises(ForbiddenError) as error:
            without_claimed_agent(call(principal, _agent_id=claimed))
        assert error.value.field == "_agent_id"


@pytest.mark.parametrize(
    ("subject", "name"),
    [("key:sales", "sales"), ("jwt:auth0|a:b", "auth0|a:b"), ("key-1", None), ("kmp:", None)],
)
def test_the_name_is_what_the_credential_gives(subject: str, name: str | None) -> None:
    assert Principal(subject, frozenset()).agent_id == name
