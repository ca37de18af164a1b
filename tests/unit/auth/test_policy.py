from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, LOCAL, Principal
from kailash_mcp_prod.auth.rules import ANY_WORKFLOW, AccessRule, Mask, Role
from kailash_mcp_prod.errors import UnknownToolError
from kailash_mcp_prod.records.operations import TRAITS, Operation
from tests.unit.tools.sample_tools import names_in, service_of, tool

POLICY = Policy()
READS = {Operation.READ, Operation.LIST, Operation.COUNT, Operation.AGGREGATE}


@dataclass(frozen=True)
class Thing:
    name: str
    permissions: tuple[str, ...]
    read_only: bool = False


def allows(grants: str, *required: str, name: str = "some_tool") -> bool:
    principal = Principal("p", frozenset(grants.split()))
    return POLICY.allows(principal, Thing(name, required))


def allowed_operations(grants: str, subject: str = "Company") -> set[Operation]:
    return {each for each in Operation if allows(grants, f"{subject}:{each}")}


def test_a_star_allows_everything() -> None:
    assert allows("*", "Company:delete", "session:create")
    assert POLICY.allows(ANONYMOUS, Thing("any", ("nexus:run",)))


def test_the_grant_that_covers_a_permission_is_named() -> None:
    def grant(grants: str, required: str) -> str | None:
        principal = Principal("p", frozenset(grants.split()))
        return POLICY.access(principal).grant_for(required)

    assert grant("*", "Company:list") == "*"
    assert grant("Company:list Company:read *:*", "Company:list") == "Company:list"
    assert grant("Company:read Company:* *:list", "Company:list") == "Company:read"
    assert grant("Company:* *:list", "Company:list") == "Company:*"
    assert grant("*:list *:*", "Company:list") == "*:list"
    assert grant("*:write *:*", "Company:create") == "*:write"
    assert grant("Quote:*", "Company:create") is None
    assert grant("nexus:* *:*", "nexus:greet") == "nexus:*"
    assert grant("nexus:write *:write", "nexus:greet") == "nexus:write"
    assert grant("*:write *:*", "nexus:greet") == "*:write"
    assert grant("*:* nexus:greet", "nexus:greet") == "*:*"
    assert grant("nexus:greet", "nexus:greet") == "nexus:greet"
    assert grant("nexus:read nexus:total nexus:greet", ANY_WORKFLOW) == "nexus:greet"
    assert grant("nexus:read", ANY_WORKFLOW) is None
    assert grant("nexusx:greet other", ANY_WORKFLOW) is None


def test_what_is_missing_are_the_permissions_without_a_grant() -> None:
    access = POLICY.access(Principal("p", frozenset({"Company:read"})))

    assert access.missing(Thing("t", ("Company:list", "Quote:list", "session:create"))) == (
        "Quote:list",
        "session:create",
    )


def test_no_grant_allows_nothing() -> None:
    assert allowed_operations("") == set()


def test_read_is_read_list_count_and_aggregate() -> None:
    assert allowed_operations("Company:read") == READS


def test_write_is_the_rest() -> None:
    assert allowed_operations("Company:write") == set(Operation) - READS


def test_read_and_write_are_what_the_operations_say_of_themselves() -> None:
    assert {each for each in Operation if TRAITS[each].access == "read"} == READS


def test_one_operation_is_that_operation_only() -> None:
    assert allowed_operations("Company:list") == {Operation.LIST}
    assert allowed_operations("Company:bulk_delete") == {Operation.BULK_DELETE}


def test_all_operations_of_one_model() -> None:
    assert allowed_operations("Company:*") == set(Operation)
    assert allowed_operations("Company:*", "Quote") == set()


def test_one_operation_of_all_models() -> None:
    assert allowed_operations("*:list", "Quote") == {Operation.LIST}
    assert allowed_operations("*:read", "Quote") == READS
    assert allowed_operations("*:*", "Quote") == set(Operation)


def test_a_tool_by_name_is_that_tool_only() -> None:
    assert allows("tool:Company_create", "Company:create", name="Company_create")
    assert not allows("tool:Company_create", "Company:update", name="Company_update")


@pytest.mark.parametrize("family", ["session", "workflow", "monitor", "nexus"])
def test_a_family_of_tools(family: str) -> None:
    assert allows(f"{family}:*", f"{family}:create")
    assert not allows(f"{family}:*", "other:create")


def test_all_required_permissions_must_hold() -> None:
    assert not allows("Company:read", "Company:read", "session:create")
    assert allows("Company:read session:*", "Company:read", "session:create")


@pytest.mark.parametrize(
    "grant",
    [
        *("company:read", "Compan:read", "Company", "Company:", ":read", "Company:rea"),
        *(
            "Company:read:list",
            "Comp*:read",
            "Company:re*",
            "tool:*",
            "tool:",
            "**",
            ":",
            "Company*",
        ),
    ],
)
def test_what_is_no_grant_for_it_grants_nothing(grant: str) -> None:
    assert not allows(grant, "Company:read", name="Company_read")


MODELS = ("Company", "Quote")
NAMES = [f"{model}_{operation}" for model in MODELS for operation in Operation]
GRANTS = st.frozensets(
    st.one_of(
        st.sampled_from(["*", "session:*", "tool:admin", "tool:*", "*:*", "", "Company"]),
        st.sampled_from(NAMES).map("tool:{}".format),
        st.builds(
            "{}:{}".format,
            st.sampled_from([*MODELS, "*", "session"]),
            st.sampled_from([*Operation, "read", "write", "*", "create_session"]),
        ),
    ),
    max_size=3,
)
SERVICE = service_of(
    *(
        tool(f"{model}_{operation}", permissions=(f"{model}:{operation}",))
        for model in MODELS
        for operation in Operation
    ),
    tool("admin", permissions=("session:create", "Company:delete")),
)


@given(GRANTS)
def test_what_is_visible_can_be_called_and_nothing_else(grants: frozenset[str]) -> None:
    principal = Principal("p", grants)

    async def callable_names() -> list[str]:
        names = []
        for each in SERVICE.registry:
            try:
                await SERVICE.call(principal, each.name, {}, request_id="r")
            except UnknownToolError:
                continue
            names.append(each.name)
        return names

    visible = [each.name for each in SERVICE.visible(principal)]
    assert asyncio.run(callable_names()) == visible
    assert names_in(SERVICE.encoded_list(principal).body) == visible


CLERK = Role(frozenset({"Quote:read", "tool:Quote_create"}))
AUDITOR = Role(
    frozenset({"*:read"}), read_only=True, rules={"Quote": AccessRule(hide=frozenset({"margin"}))}
)
EVERYBODY = AccessRule(rows={"owner": "$claims.sub"}, except_roles=frozenset({"auditor"}))


def ruled() -> Policy:
    """A new one, which has found nothing yet."""
    return Policy({"clerk": CLERK, "auditor": AUDITOR}, {"Quote": EVERYBODY})


RULED = ruled()


def holder(*roles: str, grants: str = "", **given: Any) -> Principal:
    return Principal("p", frozenset(grants.split()), roles=frozenset(roles), **given)


def test_a_role_grants_what_it_says_and_an_unknown_one_nothing() -> None:
    assert RULED.allows(holder("clerk"), Thing("Quote_list", ("Quote:list",), read_only=True))
    assert RULED.allows(holder("clerk"), Thing("Quote_create", ("Quote:create",)))
    assert not RULED.allows(holder("clerk"), Thing("Quote_delete", ("Quote:delete",)))
    assert not RULED.allows(holder("boss"), Thing("Quote_list", ("Quote:list",), read_only=True))


@pytest.mark.parametrize(
    ("policy", "principal"),
    [
        (Policy(read_only=True), holder(grants="*")),
        (Policy(), holder(grants="*", read_only=True)),
        (RULED, holder("auditor", grants="*")),
    ],
    ids=["server", "credential", "role"],
)
def test_read_only_leaves_what_changes_nothing(policy: Policy, principal: Principal) -> None:
    assert policy.allows(principal, Thing("Quote_list", ("Quote:list",), read_only=True))
    assert not policy.allows(principal, Thing("Quote_create", ("Quote:create",)))


def test_rules_add_up_and_spare_the_roles_that_they_except() -> None:
    policy = ruled()
    assert policy.access(holder("clerk")).rules["Quote"] == (EVERYBODY,)
    assert policy.access(holder("clerk")).masks == {}
    auditor = policy.access(holder("auditor", "clerk"))
    assert auditor.rules["Quote"] == (AUDITOR.rules["Quote"],)
    assert auditor.masks == {"Quote": Mask(frozenset({"margin"}), frozenset())}


def test_code_in_the_servers_own_process_is_not_ruled_but_bound_to_read_only() -> None:
    assert ruled().access(LOCAL).rules == {}
    lookalike = replace(LOCAL)
    assert RULED.access(lookalike).rules["Quote"] == (EVERYBODY,)
    assert RULED.fingerprint(lookalike) != RULED.fingerprint(LOCAL)
    assert not Policy(read_only=True).allows(LOCAL, Thing("Quote_create", ("Quote:create",)))


def claiming(**claims: Any) -> Principal:
    return holder("clerk", claims=MappingProxyType(claims))


def test_a_fingerprint_is_one_for_all_who_read_the_same() -> None:
    alice = RULED.fingerprint(claiming(sub="alice"))
    assert alice == RULED.fingerprint(claiming(sub="alice", jti="another", hobby="chess"))
    assert alice == RULED.fingerprint(replace(claiming(sub="alice"), subject="q", rate_limit=5))
    others = [
        claiming(sub="bob"),
        claiming(),
        replace(claiming(sub="alice"), tenant="t"),
        replace(claiming(sub="alice"), read_only=True),
        replace(claiming(sub="alice"), roles=frozenset({"clerk", "auditor"})),
        replace(claiming(sub="alice"), permissions=frozenset({"*"})),
    ]
    assert len({alice, *map(RULED.fingerprint, others)}) == len(others) + 1


def test_callers_under_different_rules_have_different_fingerprints() -> None:
    """Whom a rule excepts is told by a role that the configuration need not have."""
    hides = {name: AccessRule(hide=frozenset({name})) for name in ("margin", "cost")}
    policy = Policy(
        {
            "clerk": replace(
                CLERK, rules={"Quote": replace(hides["cost"], except_roles=frozenset({"a"}))}
            )
        },
        {"Quote": replace(hides["margin"], except_roles=frozenset({"b"}))},
    )
    seen = {role: holder("clerk", role) for role in ("a", "b", "c")}

    assert policy.access(seen["a"]).masks["Quote"].hidden == {"margin"}
    assert policy.access(seen["b"]).masks["Quote"].hidden == {"cost"}
    assert len({policy.fingerprint(each) for each in seen.values()}) == 3


def test_a_fingerprint_does_not_outlive_the_rules() -> None:
    before, after = (
        Policy(rules={"Quote": rule}).fingerprint(holder("clerk"))
        for rule in (AccessRule(rows={"team": 1}), AccessRule(rows={"team": 2}))
    )
    again = Policy(rules={"Quote": AccessRule(rows={"team": 1})}).fingerprint(holder("clerk"))
    assert before == again != after


@pytest.mark.parametrize("grants", ["nexus:*", "nexus:greet", "nexus:write", "*:write", "*"])
def test_whoever_may_run_one_workflow_sees_that_there_are_some(grants: str) -> None:
    assert allows(grants, "nexus:greet")
    assert allows(grants, ANY_WORKFLOW)


@pytest.mark.parametrize("grants", ["*:read", "*:list", "nexus:read", "Company:*", "session:write"])
def test_nobody_else_does(grants: str) -> None:
    assert not allows(grants, ANY_WORKFLOW)


@pytest.mark.parametrize("name", sorted(READS))
def test_a_workflow_with_the_name_of_an_operation_is_no_read(name: str) -> None:
    assert not allows("*:read", f"nexus:{name}")
    assert not allows(f"*:{name}", f"nexus:{name}")
    assert allows("nexus:write", f"nexus:{name}")


def test_a_workflow_is_not_another_one() -> None:
    assert not allows("nexus:greet", "nexus:total")


def test_rows_are_known_to_be_the_same_where_no_rule_or_the_same_one_divides_them() -> None:
    alice, bob, auditor = claiming(sub="alice"), claiming(sub="bob"), holder("auditor")

    assert RULED.sees_rows_of(alice, replace(alice, subject="q"), "Quote")
    assert not RULED.sees_rows_of(alice, bob, "Quote")
    assert RULED.sees_rows_of(alice, bob, "Company")
    # Rules that hide fields divide no rows; whoever sees all rows sees those of everybody.
    assert RULED.sees_rows_of(auditor, bob, "Quote")
    assert not RULED.sees_rows_of(bob, auditor, "Quote")


def test_rules_that_compare_other_fields_with_the_same_value_divide_rows_otherwise() -> None:
    rules = {name: AccessRule(rows={name: "$tenant"}) for name in ("buyer", "seller")}
    policy = Policy({name: Role(rules={"Quote": rule}) for name, rule in rules.items()})
    buyer, seller = (holder(name, tenant="t") for name in rules)

    assert policy.sees_rows_of(buyer, replace(buyer, subject="q"), "Quote")
    assert not policy.sees_rows_of(buyer, seller, "Quote")


def test_all_rules_are_those_for_everybody_and_those_of_roles() -> None:
    assert RULED.rules_by_model() == [("Quote", EVERYBODY), ("Quote", AUDITOR.rules["Quote"])]


def test_masks_are_of_all_rules_together() -> None:
    rules = {
        "a": AccessRule(hide=frozenset({"margin"}), fill={"team": 1}),
        "b": AccessRule(hide=frozenset({"cost"}), fill={"owner": "$subject"}),
        "c": AccessRule(fill={"team": 1}),
    }
    policy = Policy({name: Role(rules={"Quote": rule}) for name, rule in rules.items()})

    def mask(*roles: str) -> Mask | None:
        return policy.access(holder(*roles)).masks.get("Quote")

    assert mask("a", "b") == Mask(frozenset({"margin", "cost"}), frozenset({"team", "owner"}))
    assert mask("c") == Mask(frozenset(), frozenset({"team"}))
    assert mask("d") is None


def test_who_sees_the_same_tools_is_of_one_kind() -> None:
    hidden = {name: AccessRule(hide=frozenset({name})) for name in ("margin", "cost")}
    policy = Policy({name: Role(rules={"Quote": rule}) for name, rule in hidden.items()})
    kinds = [
        policy.access(each).kind
        for each in (
            holder(),
            holder(grants="a:read"),
            holder(read_only=True),
            holder("margin"),
            holder("cost"),
        )
    ]
    assert len(set(kinds)) == len(kinds)
    # Which rows it reaches says nothing about its tools.
    assert RULED.access(holder()).kind == Policy().access(holder()).kind


def test_what_a_principal_may_is_found_once() -> None:
    assert RULED.access(holder("clerk")) is RULED.access(holder("clerk"))
    assert RULED.fingerprint(holder("clerk")) is RULED.fingerprint(holder("clerk"))


def test_a_fingerprint_heeds_every_part_of_a_rule() -> None:
    """Also what stands in it for the caller's own values, and values that are no JSON."""
    day = date(2026, 3, 1)
    rules = [
        AccessRule(),
        AccessRule(rows={"day": day}),
        AccessRule(fill={"day": day}),
        AccessRule(rows={"day": day}, fill={"day": day}),
        AccessRule(hide=frozenset({"day"})),
        AccessRule(rows={"owner": "$subject"}),
        AccessRule(fill={"owner": "$subject"}),
    ]
    callers = (Principal("a", frozenset()), Principal("b", frozenset()))
    found = [
        [Policy(rules={"Quote": rule}).fingerprint(each) for each in callers] for rule in rules
    ]

    assert [len(set(each)) for each in found] == [1] * 5 + [2] * 2
    assert len({each for both in found for each in both}) == 9
    two_ways = AccessRule(rows={"a": 1, "b": 2}), AccessRule(rows={"b": 2, "a": 1})
    assert len({Policy(rules={"Quote": each}).fingerprint(callers[0]) for each in two_ways}) == 1


def test_the_name_of_a_workflow_may_have_colons() -> None:
    assert allows("nexus:*", "nexus:sales:total")
    assert not allows("nexus:sales", "nexus:sales:total")
