from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import UnknownToolError
from kailash_mcp_prod.records.operations import TRAITS, Operation
from tests.unit.tools.sample_tools import names_in, service_of, tool

POLICY = Policy()
READS = {Operation.READ, Operation.LIST, Operation.COUNT, Operation.AGGREGATE}


@dataclass(frozen=True)
class Thing:
    name: str
    permissions: tuple[str, ...]


def allows(grants: str, *required: str, name: str = "some_tool") -> bool:
    principal = Principal("p", frozenset(grants.split()))
    return POLICY.allows(principal, Thing(name, required))


def allowed_operations(grants: str, subject: str = "Company") -> set[Operation]:
    return {each for each in Operation if allows(grants, f"{subject}:{each}")}


def test_a_star_allows_everything() -> None:
    assert allows("*", "Company:delete", "session:create")
    assert POLICY.allows(ANONYMOUS, Thing("any", ("nexus:run",)))


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
    assert names_in(SERVICE.tool_list(principal)) == visible
