"""Agents that work together, whichever replica their calls go to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConflictError
from tests.integration.agents.deployments import Deployment, agent, database, name_of


async def workspace_of(deployment: Deployment, who: Principal, workspace_id: str) -> Any:
    """All that a member sees of a workspace."""
    found = await deployment.call(who, "list_collaborations", workspace_id=workspace_id)
    [workspace] = found["workspaces"]
    return workspace


async def test_an_invited_agent_joins_and_leaves(deployment: Deployment) -> None:
    owner, guest = agent(tenant="acme"), agent(tenant="acme")
    made = await deployment.call(
        owner,
        "enable_agent_collaboration",
        name="Quotes for Kiel",
        agents=[{"agent_id": name_of(guest)}],
        ttl_minutes=5,
    )
    workspace_id = made["workspace_id"]
    assert (made["role"], made["invited"]) == ("owner", [name_of(guest)])

    found = await deployment.call(guest, "list_collaborations")
    assert found["workspaces"] == []
    assert found["invitations"] == [
        {
            "workspace_id": workspace_id,
            "name": "Quotes for Kiel",
            "role": "member",
            "invited_by": name_of(owner),
            "expires_at": made["expires_at"],
        }
    ]
    before = await deployment.refused(guest, "read_blackboard", workspace_id=workspace_id)
    assert before.code == "not_found"
    joined = await deployment.call(
        guest, "respond_to_invitation", workspace_id=workspace_id, accept=True
    )
    assert joined == {"workspace_id": workspace_id, "accepted": True, "role": "member"}
    again = await deployment.refused(
        guest, "respond_to_invitation", workspace_id=workspace_id, accept=True
    )
    assert again.code == "conflict"
    found = await workspace_of(deployment, guest, workspace_id)
    assert found["members"] == sorted(
        [
            {"agent_id": name_of(owner), "role": "owner", "state": "joined"},
            {"agent_id": name_of(guest), "role": "member", "state": "joined"},
        ],
        key=lambda each: each["agent_id"],
    )
    assert [each["action"] for each in found["changes"]] == ["created", "joined"]

    left = await deployment.call(guest, "leave_collaboration", workspace_id=workspace_id)
    assert left["outcome"] == "left"
    after = await deployment.refused(guest, "read_blackboard", workspace_id=workspace_id)
    assert after.message == before.message
    assert await deployment.call(guest, "list_collaborations") == {
        "workspaces": [],
        "invitations": [],
    }


async def test_an_invitation_may_be_declined_and_taken_back(deployment: Deployment) -> None:
    owner, shy, late = agent(), agent(), agent()
    made = await deployment.call(
        owner,
        "enable_agent_collaboration",
        agents=[{"agent_id": name_of(who)} for who in (shy, late)],
    )
    workspace_id = made["workspace_id"]
    await deployment.call(shy, "respond_to_invitation", workspace_id=workspace_id, accept=False)
    await deployment.call(
        owner, "leave_collaboration", workspace_id=workspace_id, agent_id=name_of(late)
    )

    for who in (shy, late):
        assert (await deployment.call(who, "list_collaborations"))["invitations"] == []
        refused = await deployment.refused(
            who, "respond_to_invitation", workspace_id=workspace_id, accept=True
        )
        assert refused.code == "not_found"
    found = await workspace_of(deployment, owner, workspace_id)
    assert [each["action"] for each in found["changes"]] == ["created", "declined", "removed"]


async def test_each_role_may_do_what_it_is_for(deployment: Deployment) -> None:
    owner, member, observer = agent(), agent(), agent()
    workspace_id = await deployment.workspace(owner, member=member, observer=observer)
    writes: list[tuple[str, dict[str, Any]]] = [
        ("write_blackboard", {"key": "k", "value": 1}),
        ("send_agent_message", {"message": "hi"}),
        ("acquire_lease", {"model": "Company", "id": "none"}),
        ("release_lease", {"fencing_token": 1}),
    ]
    rules: list[tuple[str, dict[str, Any]]] = [
        ("enable_agent_collaboration", {"agents": [{"agent_id": "x"}]}),
        ("leave_collaboration", {"agent_id": name_of(owner)}),
        ("leave_collaboration", {"close": True}),
    ]
    before = await workspace_of(deployment, owner, workspace_id)

    for tool, arguments in rules:
        for who in (member, observer):
            refused = await deployment.refused(who, tool, workspace_id=workspace_id, **arguments)
            assert refused.code == "forbidden"
    for tool, arguments in writes:
        refused = await deployment.refused(observer, tool, workspace_id=workspace_id, **arguments)
        assert refused.code == ("not_found" if tool == "acquire_lease" else "forbidden")
    assert (await workspace_of(deployment, owner, workspace_id)) == before

    await deployment.call(member, "write_blackboard", workspace_id=workspace_id, key="k", value=1)
    await deployment.call(member, "send_agent_message", workspace_id=workspace_id, message="hi")
    assert await deployment.call(observer, "read_blackboard", workspace_id=workspace_id)
    mail = await deployment.call(observer, "read_agent_messages", workspace_id=workspace_id)
    assert [each["message"] for each in mail["messages"]] == ["hi"]
    await deployment.call(
        owner,
        "enable_agent_collaboration",
        workspace_id=workspace_id,
        agents=[{"agent_id": name_of(observer), "role": "owner"}],
    )
    await deployment.call(owner, "leave_collaboration", workspace_id=workspace_id)
    refused = await deployment.refused(observer, "leave_collaboration", workspace_id=workspace_id)
    assert refused.code == "conflict"
    await deployment.call(observer, "leave_collaboration", workspace_id=workspace_id, close=True)
    for who in (owner, member, observer):
        refused = await deployment.refused(who, "read_blackboard", workspace_id=workspace_id)
        assert refused.code == "not_found"


async def test_a_version_of_an_entry_is_compared_and_set(deployment: Deployment) -> None:
    owner, member = agent(), agent()
    workspace_id = await deployment.workspace(owner, member=member)

    async def write(who: Principal, **arguments: Any) -> int:
        made = await deployment.call(
            who, "write_blackboard", workspace_id=workspace_id, key="plan", **arguments
        )
        return int(made["version"])

    value = {"steps": ["a", 2, None], "ü": "\0"}
    first = await write(owner, value=value, expected_version=0)
    found = await deployment.call(member, "read_blackboard", workspace_id=workspace_id)
    [entry] = found["entries"]
    assert (entry["key"], entry["value"], entry["version"]) == ("plan", value, first)
    assert entry["agent_id"] == name_of(owner)
    second = await write(member, value=None, expected_version=first)
    assert second > first
    for expected in (0, first, second + 1):
        refused = await deployment.refused(
            owner,
            "write_blackboard",
            workspace_id=workspace_id,
            key="plan",
            value=1,
            expected_version=expected,
        )
        assert (refused.code, refused.details) == ("conflict", {"version": second})
    await write(owner, delete=True, expected_version=second)
    third = await write(owner, value="again", expected_version=0)
    assert third > second, "a version is never used twice"
    found = await deployment.call(
        member, "read_blackboard", workspace_id=workspace_id, since=second, key="plan"
    )
    assert [each["value"] for each in found["entries"]] == ["again"]


async def test_of_many_who_expect_one_version_one_writes(deployment: Deployment) -> None:
    owner, others = agent(), [agent() for _ in range(3)]
    workspace_id = await deployment.workspace(
        owner, **{f"member{number}": who for number, who in enumerate(others)}
    )
    await deployment.call(owner, "write_blackboard", workspace_id=workspace_id, key="n", value=0)

    async def count_up(who: Principal) -> None:
        while True:
            found = await deployment.call(who, "read_blackboard", workspace_id=workspace_id)
            [entry] = found["entries"]
            with suppress(ConflictError):
                await deployment.call(
                    who,
                    "write_blackboard",
                    workspace_id=workspace_id,
                    key="n",
                    value=entry["value"] + 1,
                    expected_version=entry["version"],
                )
                return

    await asyncio.gather(*(count_up(who) for who in (owner, *others) for _ in range(3)))

    found = await deployment.call(owner, "read_blackboard", workspace_id=workspace_id)
    assert found["entries"][0]["value"] == 12
    changes = (await workspace_of(deployment, owner, workspace_id))["changes"]
    numbers = [each["revision"] for each in changes]
    assert numbers == list(range(1, len(numbers) + 1)), "each change has a number of its own"


async def test_a_blackboard_is_read_page_by_page(deployment: Deployment) -> None:
    owner = agent()
    workspace_id = await deployment.workspace(owner)
    for number in range(5):
        await deployment.call(
            owner, "write_blackboard", workspace_id=workspace_id, key=f"k{number}", value=number
        )

    pages, after = [], {}
    while True:
        page = await deployment.call(
            owner, "read_blackboard", workspace_id=workspace_id, limit=2, **after
        )
        pages.append([each["value"] for each in page["entries"]])
        if "next" not in page:
            break
        after = {"after": page["next"]}
    assert pages == [[0, 1], [2, 3], [4]]


async def test_a_message_waits_for_whom_it_is_for_until_that_is_done_with_it(
    deployment: Deployment,
) -> None:
    owner, one, two = agent(), agent(), agent()
    workspace_id = await deployment.workspace(owner, member1=one, member2=two)

    async def mail(who: Principal, **arguments: Any) -> list[dict[str, Any]]:
        found = await deployment.call(
            who, "read_agent_messages", workspace_id=workspace_id, **arguments
        )
        return list(found["messages"])

    sent = await deployment.call(
        owner, "send_agent_message", workspace_id=workspace_id, message="all"
    )
    assert sent["delivered_to"] == sorted([name_of(one), name_of(two)])
    await deployment.call(
        one,
        "send_agent_message",
        workspace_id=workspace_id,
        message={"for": "two"},
        to=[name_of(two)],
    )
    assert await mail(owner) == []
    assert [each["message"] for each in await mail(one)] == ["all"]
    both = await mail(two)
    assert [(each["from"], each["message"]) for each in both] == [
        (name_of(owner), "all"),
        (name_of(one), {"for": "two"}),
    ]
    assert await mail(two) == both, "a message stays until it is done with"
    assert await mail(two, after=both[0]["message_id"]) == both[1:]
    assert await mail(two, after=both[1]["message_id"]) == []
    assert [each["message"] for each in await mail(one)] == ["all"]
    for seen, who in ((True, one), (True, two), (True, owner)):
        changes = (await workspace_of(deployment, who, workspace_id))["changes"]
        assert (name_of(two) in [each["subject"] for each in changes]) is seen


async def test_of_a_message_to_one_the_others_are_told_nothing(deployment: Deployment) -> None:
    owner, one, two, third = agent(), agent(), agent(), agent()
    workspace_id = await deployment.workspace(owner, member1=one, member2=two, member3=third)
    await deployment.call(
        one, "send_agent_message", workspace_id=workspace_id, message="x", to=[name_of(two)]
    )

    def actions(found: Any) -> list[str]:
        return [each["action"] for each in found["changes"]]

    for who in (one, two, owner):
        assert "sent a message" in actions(await workspace_of(deployment, who, workspace_id))
    assert "sent a message" not in actions(await workspace_of(deployment, third, workspace_id))


async def test_one_agent_at_a_time_has_the_lease_on_a_record(deployment: Deployment) -> None:
    owner, member = agent(), agent()
    workspace_id = await deployment.workspace(owner, member=member)
    record = await deployment.call(owner, "Company_create", data={"name": "Acme", "owner_id": "o1"})
    on_it = {"workspace_id": workspace_id, "model": "Company", "id": record["id"]}

    takes = await asyncio.gather(
        *(
            deployment.call(who, "acquire_lease", **on_it)
            for who in (owner, member)
            for _ in range(3)
        ),
        return_exceptions=True,
    )
    [held] = [each for each in takes if isinstance(each, dict)]
    assert {type(each) for each in takes} == {dict, ConflictError}
    holder = owner if held["agent_id"] == name_of(owner) else member
    other = member if holder is owner else owner
    refused = await deployment.refused(
        other, "acquire_lease", **on_it, fencing_token=held["fencing_token"]
    )
    assert refused.field == "fencing_token"
    renewed = await deployment.call(
        holder, "acquire_lease", **on_it, ttl_seconds=600, fencing_token=held["fencing_token"]
    )
    assert renewed["fencing_token"] == held["fencing_token"]
    assert renewed["expires_at"] > held["expires_at"]
    found = await workspace_of(deployment, other, workspace_id)
    assert found["leases"] == [renewed]
    written = {"workspace_id": workspace_id, "key": "result", "value": 1}
    await deployment.call(
        holder, "write_blackboard", **written, fencing_token=held["fencing_token"]
    )

    with database(deployment) as connection:
        connection.execute(
            text("UPDATE mcp_workspace_leases SET expires_at = 0 WHERE workspace_id = :id"),
            {"id": workspace_id},
        )
    later = await deployment.call(other, "acquire_lease", **on_it)
    assert later["fencing_token"] > held["fencing_token"]
    for tool, arguments in (
        ("acquire_lease", {**on_it, "fencing_token": held["fencing_token"]}),
        ("release_lease", {"workspace_id": workspace_id, "fencing_token": held["fencing_token"]}),
        ("write_blackboard", {**written, "fencing_token": held["fencing_token"]}),
    ):
        refused = await deployment.refused(holder, tool, **arguments)
        assert (refused.code, refused.field) == ("conflict", "fencing_token")
    await deployment.call(
        other,
        "release_lease",
        workspace_id=workspace_id,
        fencing_token=later["fencing_token"],
    )
    last = await deployment.call(holder, "acquire_lease", **on_it)
    assert last["fencing_token"] > later["fencing_token"]


async def test_a_lease_is_taken_on_records_only_that_the_agent_may_read(
    deployment: Deployment,
) -> None:
    owner = agent()
    blind = agent("session:*", "Counter:read")
    workspace_id = await deployment.workspace(owner, member=blind)
    company = await deployment.call(
        owner, "Company_create", data={"name": "Acme", "owner_id": "o1"}
    )
    counter = await deployment.call(owner, "Counter_create", data={"label": "n"})
    lease = {"workspace_id": workspace_id}
    await deployment.call(owner, "acquire_lease", **lease, model="Company", id=company["id"])
    await deployment.call(blind, "acquire_lease", **lease, model="Counter", id=counter["id"])

    hidden = await deployment.refused(
        blind, "acquire_lease", **lease, model="Company", id=company["id"]
    )
    unknown = await deployment.refused(
        blind, "acquire_lease", **lease, model="Nothing", id=company["id"]
    )
    assert hidden.message.replace("Company", "Nothing") == unknown.message
    assert (hidden.code, hidden.field) == ("not_found", "model")
    missing = await deployment.refused(owner, "acquire_lease", **lease, model="Company", id="none")
    assert missing.code == "not_found"
    seen = await workspace_of(deployment, blind, workspace_id)
    assert [each["model"] for each in seen["leases"]] == ["Counter"]
    assert company["id"] not in str(seen)
    everything = await workspace_of(deployment, owner, workspace_id)
    assert len(everything["leases"]) == 2
    assert f'Company "{company["id"]}"' in [each["subject"] for each in everything["changes"]]


async def test_of_a_record_outside_of_its_rows_a_member_is_told_no_lease(
    deployment: Deployment,
) -> None:
    owner = agent()
    ruled = replace(agent(), permissions=frozenset(), roles=frozenset({"own_companies"}))
    workspace_id = await deployment.workspace(owner, member=ruled)
    ids = []
    for whose in ("somebody", ruled.subject):
        data = {"name": "Acme", "owner_id": whose}
        company = await deployment.call(owner, "Company_create", data=data)
        lease = {"workspace_id": workspace_id, "model": "Company", "id": company["id"]}
        await deployment.call(owner, "acquire_lease", **lease)
        ids.append(company["id"])
    hidden, own = ids

    seen = await workspace_of(deployment, ruled, workspace_id)

    assert [each["id"] for each in seen["leases"]] == [own]
    assert hidden not in str(seen)
    assert [each["subject"] for each in seen["changes"][-2:]] == ["", f'Company "{own}"']
    lease = {"workspace_id": workspace_id, "model": "Company"}
    missing = await deployment.refused(ruled, "acquire_lease", **lease, id="none")
    refused = await deployment.refused(ruled, "acquire_lease", **lease, id=hidden)
    assert refused.message.replace(hidden, "none") == missing.message


async def test_who_leaves_takes_its_leases_and_its_mail_along(deployment: Deployment) -> None:
    owner, guest = agent(), agent()
    workspace_id = await deployment.workspace(owner, member=guest)
    record = await deployment.call(owner, "Counter_create", data={"label": "n"})
    on_it = {"workspace_id": workspace_id, "model": "Counter", "id": record["id"]}
    await deployment.call(guest, "acquire_lease", **on_it)
    await deployment.call(owner, "send_agent_message", workspace_id=workspace_id, message="old")
    await deployment.call(
        owner, "leave_collaboration", workspace_id=workspace_id, agent_id=name_of(guest)
    )

    await deployment.call(owner, "acquire_lease", **on_it)
    await deployment.call(
        owner,
        "enable_agent_collaboration",
        workspace_id=workspace_id,
        agents=[{"agent_id": name_of(guest)}],
    )
    await deployment.call(guest, "respond_to_invitation", workspace_id=workspace_id, accept=True)
    mail = await deployment.call(guest, "read_agent_messages", workspace_id=workspace_id)
    assert mail == {"messages": [], "more": False}


async def test_changes_are_listed_since_any_revision(deployment: Deployment) -> None:
    owner = agent()
    workspace_id = await deployment.workspace(owner)
    for number in range(7):
        await deployment.call(
            owner, "write_blackboard", workspace_id=workspace_id, key=f"k{number}", value="secret"
        )

    async def changes(**arguments: Any) -> tuple[list[int], bool]:
        found = await deployment.call(
            owner, "list_collaborations", workspace_id=workspace_id, **arguments
        )
        [workspace] = found["workspaces"]
        assert "secret" not in str(workspace)
        return [each["revision"] for each in workspace["changes"]], workspace["more"]

    assert await changes() == ([1, 2, 3, 4, 5, 6, 7, 8], False)
    assert await changes(limit=2) == ([7, 8], True)
    assert await changes(since=3, limit=3) == ([4, 5, 6], True)
    assert await changes(since=6, limit=3) == ([7, 8], False)
    assert await changes(since=8) == ([], False)


async def test_a_workspace_that_is_over_is_gone_and_so_is_its_invitation(
    deployment: Deployment,
) -> None:
    owner, member, invited = agent(), agent(), agent()
    workspace_id = await deployment.workspace(owner, member=member)
    await deployment.call(
        owner,
        "enable_agent_collaboration",
        workspace_id=workspace_id,
        agents=[{"agent_id": name_of(invited)}],
        ttl_minutes=1,
    )
    with database(deployment) as connection:
        connection.execute(
            text("UPDATE mcp_workspaces SET expires_at = expires_at - 61 WHERE id = :id"),
            {"id": workspace_id},
        )

    nothing: dict[str, Any] = {"workspaces": [], "invitations": []}
    for who in (owner, member, invited):
        assert await deployment.call(who, "list_collaborations") == nothing
        refused = await deployment.refused(
            who, "respond_to_invitation", workspace_id=workspace_id, accept=True
        )
        assert refused.code == "not_found"


async def test_agents_may_be_given_by_their_names_alone(deployment: Deployment) -> None:
    owner, member = agent(), agent()
    made = await deployment.call(owner, "enable_agent_collaboration", agents=[name_of(member)])
    here = {"workspace_id": made["workspace_id"]}
    await deployment.call(member, "respond_to_invitation", **here, accept=True)
    sent = await deployment.call(
        owner, "send_agent_message", **here, message="x", to=name_of(member)
    )

    roles = {each["agent_id"]: each["role"] for each in made["members"]}
    assert roles[name_of(member)] == "member"
    assert sent["delivered_to"] == [name_of(member)]


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        (
            "enable_agent_collaboration",
            {"agents": [{"agent_id": "a", "role": "boss"}]},
            "agents[0].role",
        ),
        ("enable_agent_collaboration", {"agents": [{"role": "member"}]}, "agents[0].agent_id"),
        ("enable_agent_collaboration", {"agents": [{"agent_id": "a"}] * 2}, "agents[1].agent_id"),
        ("enable_agent_collaboration", {"agents": {}}, "agents"),
        ("enable_agent_collaboration", {"ttl_minutes": 0}, "ttl_minutes"),
        ("enable_agent_collaboration", {"ttl_minutes": True}, "ttl_minutes"),
        ("enable_agent_collaboration", {"owner": "me"}, "owner"),
        ("enable_agent_collaboration", {"name": "a\nb"}, "name"),
        ("respond_to_invitation", {"workspace_id": "ws_1"}, "accept"),
        ("respond_to_invitation", {"workspace_id": "ws_1", "accept": 1}, "accept"),
        ("list_collaborations", {"since": 1}, "workspace_id"),
        ("write_blackboard", {"workspace_id": "ws_1", "key": "k"}, "value"),
        (
            "write_blackboard",
            {"workspace_id": "ws_1", "key": "k", "value": 1, "delete": True},
            "value",
        ),
        ("write_blackboard", {"workspace_id": "ws_1", "key": "k", "value": float("nan")}, "value"),
        ("write_blackboard", {"workspace_id": "ws_1", "key": "k", "value": "x" * 65_536}, "value"),
        ("write_blackboard", {"workspace_id": "ws_1", "key": "", "value": 1}, "key"),
        ("send_agent_message", {"workspace_id": "ws_1", "message": "x", "to": []}, "to"),
        ("send_agent_message", {"workspace_id": "ws_1", "message": "x", "to": 5}, "to"),
        ("acquire_lease", {"workspace_id": "ws_1", "model": "Company", "id": 1.5}, "id"),
        ("leave_collaboration", {"workspace_id": 7}, "workspace_id"),
        ("leave_collaboration", {"workspace_id": "ws", "agent_id": "a", "close": True}, "close"),
    ],
)
async def test_a_wrong_argument_is_named(
    deployment: Deployment, tool: str, arguments: dict[str, Any], field: str
) -> None:
    refused = await deployment.refused(agent(), tool, **arguments)

    assert (refused.code, refused.field) == ("invalid_arguments", field)


async def test_who_may_only_read_writes_nothing(deployment: Deployment) -> None:
    owner, reader = agent(), agent("session:read")
    workspace_id = await deployment.workspace(owner)
    assert (await deployment.call(reader, "list_collaborations"))["invitations"] == []
    for tool in ("enable_agent_collaboration", "create_agent_session", "write_blackboard"):
        refused = await deployment.refused(reader, tool, workspace_id=workspace_id)
        assert refused.code == "not_found", "a tool that may not be called is not there"
