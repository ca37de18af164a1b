"""Random policies: what is seen, found, called and read is the same, and nothing else is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.auth.claims import bind
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import LOCAL, Principal
from kailash_mcp_prod.auth.rules import AccessRule, Role
from kailash_mcp_prod.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnknownToolError,
)
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.operations import TRAITS, Operation
from kailash_mcp_prod.records.query import holds
from tests.integration.records.property_values import PROFILE
from tests.integration.ruled_deals import (
    DEAL,
    DEALS,
    HIDEABLE,
    TEAMS,
    Deals,
    Json,
    Ruled,
    markers,
    running_deals,
    told_by,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

ROWS: list[Json] = [
    {},
    {"owner": "$claims.sub"},
    {"team": {"$in": "$claims.teams"}},
    {"$not": {"owner": "$claims.sub"}},
    {"$or": [{"owner": "$claims.sub"}, {"team": 2}]},
    {"margin": {"$nin": ["margin-3-x", "margin-4-x"]}, "team": {"$gte": 2}},
    {"headline": {"$like": "headline-1%"}},
    {"owner": "somebody else"},
]
GRANTS = ["*", "Deal:*", "Deal:read", "Deal:write", "*:list", "tool:Deal_update", "Deal:aggregate"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def deals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deals]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("deals") / "deals.db"
        async with running_deals(f"sqlite:///{path}") as running:
            yield running
        return
    with request.getfixturevalue("postgres_server").database() as url:
        async with running_deals(url) as running:
            yield running


rules = st.builds(
    AccessRule,
    rows=st.sampled_from(ROWS),
    hide=st.frozensets(st.sampled_from(HIDEABLE), max_size=3),
    fill=st.sampled_from([{}, {"owner": "$claims.sub"}, {"team": 2}]),
    except_roles=st.sampled_from([frozenset(), frozenset({"clerk"})]),
)
policies = st.builds(
    lambda everybody, clerk, read_only: Policy(
        {"clerk": Role(frozenset({"Deal:list"}), read_only, {"Deal": clerk} if clerk else {})},
        {"Deal": everybody} if everybody else {},
    ),
    st.none() | rules,
    st.none() | rules,
    st.booleans(),
)
principals = st.builds(
    lambda grants, roles, sub, teams, read_only: Principal(
        f"jwt:{sub}",
        grants,
        roles=roles,
        read_only=read_only,
        claims=MappingProxyType({"sub": sub, "teams": teams}),
    ),
    st.frozensets(st.sampled_from(GRANTS), max_size=3),
    st.sampled_from([frozenset(), frozenset({"clerk"})]),
    st.sampled_from(["alice", "bob"]),
    st.lists(st.sampled_from(TEAMS), min_size=1, max_size=2),
    st.sampled_from([False, False, True]),
)


@dataclass
class Expected:
    """What a policy leaves to a principal, worked out without the refno under test."""

    tools: set[str]
    rows: list[Json]
    hidden: frozenset[str]
    fixed: frozenset[str]
    bound: list[Json]

    def may_know(self, cell: tuple[str, int]) -> bool:
        name, number = cell
        return name not in self.hidden and any(row["id"] == f"id-{number}-x" for row in self.rows)

    def holds(self, row: Json) -> bool:
        return all(holds(parse_filter(DEAL, each), row) is True for each in self.bound if each)


def expected(policy: Policy, who: Principal) -> Expected:
    in_force = policy.access(who).rules.get("Deal", ())
    bound = [bind(rule.rows, who) for rule in in_force]
    hidden = frozenset().union(*(rule.hide for rule in in_force))
    fixed = frozenset().union(*(frozenset(rule.fill) for rule in in_force))
    found = Expected(set(), [], hidden, fixed, bound)
    found.rows = [row for row in DEALS if found.holds(row)]
    for operation in Operation:
        wanted = ("Deal", str(operation))
        if policy.access(who).read_only and TRAITS[operation].access == "write":
            continue
        if "headline" in hidden - fixed and operation in {
            Operation.CREATE,
            Operation.BULK_CREATE,
            Operation.UPSERT,
            Operation.BULK_UPSERT,
        }:
            # A headline is required, and nobody could give one.
            continue
        if granted(policy.access(who).grants, *wanted):
            found.tools.add(f"Deal_{operation}")
    return found


def granted(grants: frozenset[str], model: str, operation: str) -> bool:
    access = TRAITS[Operation(operation)].access
    return bool(
        grants
        & {"*", f"tool:{model}_{operation}", f"{model}:{operation}", f"{model}:{access}",
           f"{model}:*", f"*:{operation}", f"*:{access}", "*:*"}
    )  # fmt: skip


def check_told(answer: Any, may: Expected) -> None:
    """Nothing that was told is of a row or a field outside of the policy."""
    told = told_by(answer)
    assert not [cell for cell in markers(told) if not may.may_know(cell)], told
    text = json.dumps(told, default=str)
    for name in may.hidden:
        assert f'"{name}"' not in text, text
        assert f".{name}" not in text, text


def visible(row: Json, may: Expected) -> Json:
    return {name: value for name, value in row.items() if name not in may.hidden}


@settings(PROFILE, max_examples=20)
@given(policy=policies, who=principals)
async def test_what_is_seen_found_called_and_read_is_the_same(
    deals: Deals, policy: Policy, who: Principal
) -> None:
    ruled, may = Ruled(deals, policy), expected(policy, who)
    listed = json.loads(ruled.service.encoded_list(who, "full").body)
    names = {tool["name"] for tool in listed if tool["name"].startswith("Deal_")}
    assert names == may.tools
    check_told(listed, may)
    for surface in ("compact", "search"):
        check_told(json.loads(ruled.service.encoded_list(who, surface).body), may)

    for question in ("deal", "what margin does a deal have", "create a deal", "delete deals"):
        found = await ruled.call(who, "search_tools", "search", query=question, limit=20)
        check_told(found, may)
        deal_tools = {each["name"] for each in found["tools"] if each["name"].startswith("Deal_")}
        assert deal_tools <= names
        if question == "deal":
            assert deal_tools == names

    info = await ruled.call(who, "get_dataflow_models_info")
    check_told(info, may)
    assert bool(info["models"]) is bool(names)
    for operation in Operation:
        name = f"Deal_{operation}"
        described = await ruled.call(who, "describe_tool", "search", name=name)
        called = await ruled.call(who, name, no_such_argument=1)
        check_told(described, may)
        check_told(called, may)
        assert isinstance(described, NotFoundError) is (name not in names)
        assert isinstance(called, UnknownToolError) is (name not in names)
    document = await ruled.read(who, "dataflow://models/Deal")
    check_told(document, may)
    assert isinstance(document, NotFoundError) is not names


async def fill_cache(ruled: Ruled) -> None:
    """The same reads by somebody whom no rule restricts, so that others could be shown those."""
    for arguments in ({"limit": 5, "sort": ["id"], "include_total": True}, {}):
        assert len((await ruled.call(LOCAL, "Deal_list", **arguments))["records"]) >= 5
    for row in DEALS:
        assert (await ruled.call(LOCAL, "Deal_read", id=row["id"]))["id"] == row["id"]
    assert await ruled.call(LOCAL, "Deal_count") == {"count": len(DEALS)}
    assert await ruled.call(LOCAL, "Deal_aggregate", group_by=["owner"])


@settings(PROFILE, max_examples=20)
@given(policy=policies, who=principals)
async def test_reads_reach_the_rows_and_fields_of_the_policy_alone(
    deals: Deals, policy: Policy, who: Principal
) -> None:
    ruled, may = Ruled(deals, policy), expected(policy, who)
    await fill_cache(ruled)
    reachable = {row["id"] for row in may.rows}
    if "Deal_list" in may.tools:
        page = await ruled.call(who, "Deal_list", limit=5, sort=["id"], include_total=True)
        seen = list(page["records"])
        check_told(page, may)
        assert page["total"] == len(may.rows)
        while "next_cursor" in page:
            cursor = page["next_cursor"]
            page = await ruled.call(who, "Deal_list", limit=5, sort=["id"], cursor=cursor)
            seen += page["records"]
        shown = [{name: each[name] for name in visible(DEALS[0], may)} for each in seen]
        assert shown == sorted((visible(row, may) for row in may.rows), key=lambda row: row["id"])
        assert all(not may.hidden & each.keys() for each in seen)
        for name in (*HIDEABLE, "no_such"):
            for arguments in (
                {"filter": {name: "headline-1-x"}},
                {"filter": {"$not": {name: {"$null": True}}}},
                {"sort": [f"-{name}"]},
                {"fields": [name]},
            ):
                answer = await ruled.call(who, "Deal_list", **arguments)
                told = told_by(answer)
                if name in may.hidden:
                    nothing = json.dumps(arguments).replace(name, "no_such")
                    same = await ruled.call(who, "Deal_list", **json.loads(nothing))
                    text = json.dumps(told_by(same)).replace("no_such", name)
                    assert json.loads(text) == told
                else:
                    check_told(answer, may)
    if "Deal_count" in may.tools:
        assert await ruled.call(who, "Deal_count") == {"count": len(may.rows)}
        filtered = await ruled.call(who, "Deal_count", filter={"id": {"$like": "id-1%"}})
        assert filtered == {"count": sum(key.startswith("id-1") for key in reachable)}
    if "Deal_aggregate" in may.tools:
        await check_aggregates(ruled, who, may)
    for row in DEALS:
        answer = await ruled.call(who, "Deal_read", id=row["id"])
        document = await ruled.read(who, f"dataflow://models/Deal/{row['id']}")
        if "Deal_read" in may.tools and row["id"] in reachable:
            assert visible(row, may).items() <= answer.items()
            assert document == answer
            check_told(answer, may)
        else:
            nothing = await ruled.call(who, "Deal_read", id="id-99-x")
            text = json.dumps(told_by(nothing)).replace("id-99-x", row["id"])
            assert told_by(answer) == json.loads(text)
            assert isinstance(document, NotFoundError)
    if "Deal_read" in may.tools:
        completed = await ruled.completion.complete(
            who,
            {"type": "ref/resource", "uri": "dataflow://models/{model}/{id}"},
            "id",
            "id-",
            {"model": "Deal"},
            request_id="r",
        )
        assert set(completed.values) == (reachable if "Deal_list" in may.tools else set())


async def check_aggregates(ruled: Ruled, who: Principal, may: Expected) -> None:
    """Groups and measures tell of the rows and fields of the policy alone."""
    name = "aggregate_records"
    for field in ("id", "team", *HIDEABLE):
        asked: Json = {"group_by": [field], "max": [field], "count_distinct": [field]}
        found = await ruled.call(who, name, "compact", model="Deal", **asked)
        check_told(found, may)
        if field in may.hidden:
            assert isinstance(found, InvalidArgumentsError)
            for function in ("group_by", "min"):
                refused = await ruled.call(who, "Deal_aggregate", **{function: [field]})
                unknown = await ruled.call(who, "Deal_aggregate", **{function: ["no_such"]})
                assert told_by(refused) == told_by(unknown)
            continue
        assert sum(each["count"] for each in found["groups"]) == len(may.rows)
        assert {each["by"][field] for each in found["groups"]} == {row[field] for row in may.rows}


CHANGES: list[tuple[str, Json]] = [
    *(("Deal_update", {"id": f"id-{n}-x", "data": {"headline": "new"}}) for n in range(4)),
    *(("Deal_update", {"id": f"id-{n}-x", "data": {"owner": "alice"}}) for n in range(2)),
    ("Deal_update", {"id": "id-1-x", "data": {"team": 3, "margin": "margin-3-x"}}),
    ("Deal_update", {"id": "id-2-x", "data": {"refno": "refno-5-x"}}),
    ("Deal_update", {"id": "id-1-x", "data": {"headline": "n"}, "expected": {"margin": "guess"}}),
    ("Deal_bulk_update", {"filter": {"id": {"$like": "id-%"}}, "data": {"headline": "all"}}),
    ("Deal_bulk_update", {"filter": {"headline": {"$null": False}}, "data": {"team": 1}}),
    ("Deal_bulk_update", {"data": [{"id": f"id-{n}-x", "headline": "n"} for n in (1, 2)]}),
    ("Deal_delete", {"id": "id-3-x"}),
    ("Deal_delete", {"id": "id-4-x"}),
    ("Deal_bulk_delete", {"ids": ["id-5-x", "id-6-x"]}),
    ("Deal_bulk_delete", {"filter": {"id": {"$like": "id-%"}}}),
    (
        "Deal_create",
        {"data": {"id": "new-1", "headline": "headline-100", "owner": "bob", "team": 1}},
    ),
    ("Deal_create", {"data": {"headline": "made", "refno": "refno-7-x"}}),
    ("Deal_bulk_create", {"data": [{"headline": "headline-1a", "team": 2}, {"headline": "two"}]}),
    ("Deal_upsert", {"data": {"id": "id-8-x", "headline": "upserted"}}),
    (
        "Deal_upsert",
        {"data": {"headline": "by refno", "refno": "refno-9-x"}, "conflict_on": ["refno"]},
    ),
    (
        "Deal_bulk_upsert",
        {"data": [{"id": "id-9-x", "headline": "u"}, {"id": "n", "headline": "u"}]},
    ),
]


@settings(PROFILE, max_examples=15)
@given(policy=policies, who=principals, everything=st.sampled_from([True, True, False]))
async def test_writes_reach_the_rows_and_fields_of_the_policy_alone(
    deals: Deals, policy: Policy, who: Principal, everything: bool
) -> None:
    if everything:
        who = replace(who, permissions=frozenset({"*"}), read_only=False)
    ruled, may = Ruled(deals, policy), expected(policy, who)
    changed: set[str] = {"all"}
    for tool, arguments in CHANGES:
        if changed:
            deals.fill()
        before = {row[0]: row for row in deals.stored()}
        answer = await ruled.call(who, tool, **arguments)
        after = {row[0]: row for row in deals.stored()}
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if isinstance(answer, ServerError):
            assert not changed
            allowed = (NotFoundError, InvalidArgumentsError, ConflictError, ForbiddenError)
            assert isinstance(answer, allowed)
            assert isinstance(answer, UnknownToolError) is (tool not in may.tools)
            given_cells = markers(arguments)
            told = told_by(answer)
            assert not [cell for cell in markers(told) - given_cells if not may.may_know(cell)], (
                told
            )
            continue
        assert tool in may.tools
        for key in changed:
            if key in before:
                assert may.holds(as_row(before[key]))
            if key in after:
                assert may.holds(as_row(after[key]))
            if key in before and key in after:
                old, new = as_row(before[key]), as_row(after[key])
                touched = {name for name in old if old[name] != new[name]}
                assert not touched & (may.hidden | may.fixed)
            elif key in after:
                for rule in policy.access(who).rules.get("Deal", ()):
                    for name, value in bind(rule.fill, who).items():
                        assert as_row(after[key])[name] == value
        assert not may.hidden & set(answer)


def as_row(stored: tuple[Any, ...]) -> Json:
    return dict(zip(("id", "headline", "owner", "team", "margin", "refno"), stored, strict=True))


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        (Operation.CREATE, {"data": {"headline": "h"}}),
        (Operation.BULK_CREATE, {"data": [{"headline": "h"}]}),
        (Operation.UPSERT, {"data": {"headline": "h"}}),
        (Operation.BULK_UPSERT, {"data": [{"headline": "h"}]}),
    ],
)
async def test_a_conflict_over_a_hidden_field_does_not_name_it(
    deals: Deals, operation: Operation, given: Json
) -> None:
    deals.fill()
    rule = AccessRule(hide=frozenset({"refno"}), fill={"refno": "refno-1-x"})
    ruled = Ruled(deals, Policy(rules={"Deal": rule}))

    error = await ruled.call(Principal("p", frozenset({"*"})), f"Deal_{operation}", **given)

    assert isinstance(error, ConflictError)
    assert "refno" not in json.dumps(told_by(error))
