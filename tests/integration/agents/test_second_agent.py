"""What others do is nothing that a second agent could read, join, drive or even detect."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from tests.integration.agents.deployments import SEED, Deployment, agent, name_of

TRIES = 8
WORK = 0.2


async def answer(deployment: Deployment, who: Principal, tool: str, arguments: Any) -> Any:
    """All that a caller gets, be it a result or an error."""
    try:
        return await deployment.call(who, tool, **arguments)
    except ServerError as error:
        return {**error.to_dict(""), "retry_after_seconds": None}


def probes(session_id: str, workspace_id: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Every tool of agents with what another agent has; `name` is that agent."""
    session, workspace = {"session_id": session_id}, {"workspace_id": workspace_id}
    record = {"model": "Company", "id": "c1"}
    return [
        ("get_agent_session", session),
        ("get_agent_context", session),
        ("update_agent_context", {**session, "set": {"stolen": True}}),
        ("update_agent_context", {**session, "set": {}, "expected_version": 0}),
        ("end_agent_session", session),
        ("list_agent_sessions", {}),
        ("list_agent_sessions", {"after": session_id}),
        ("Company_list", {"limit": 1, "fields": ["id"], "_session_id": session_id}),
        ("create_agent_session", {"_session_id": session_id}),
        ("enable_agent_collaboration", {**workspace, "agents": [{"agent_id": name}]}),
        ("enable_agent_collaboration", {**workspace, "ttl_minutes": 1}),
        ("respond_to_invitation", {**workspace, "accept": True}),
        ("respond_to_invitation", {**workspace, "accept": False}),
        ("list_collaborations", {}),
        ("list_collaborations", workspace),
        ("list_collaborations", {**workspace, "since": 0}),
        ("leave_collaboration", workspace),
        ("leave_collaboration", {**workspace, "agent_id": name}),
        ("leave_collaboration", {**workspace, "close": True}),
        ("write_blackboard", {**workspace, "key": "plan", "value": 1}),
        ("write_blackboard", {**workspace, "key": "plan", "delete": True}),
        ("write_blackboard", {**workspace, "key": "plan", "value": 1, "expected_version": 1}),
        ("write_blackboard", {**workspace, "key": "plan", "value": 1, "fencing_token": 3}),
        ("read_blackboard", workspace),
        ("read_blackboard", {**workspace, "key": "plan"}),
        ("send_agent_message", {**workspace, "message": "hello"}),
        ("send_agent_message", {**workspace, "message": "hello", "to": [name]}),
        ("read_agent_messages", workspace),
        ("read_agent_messages", {**workspace, "after": 1_000}),
        ("acquire_lease", {**workspace, **record}),
        ("acquire_lease", {**workspace, **record, "fencing_token": 1}),
        ("release_lease", {**workspace, "fencing_token": 1}),
    ]


async def test_a_second_agent_detects_nothing(deployment: Deployment) -> None:
    """While two agents work, all that a third may try answers as if they did not exist."""
    chance = random.Random(SEED)
    owner, member = agent(tenant="acme"), agent(tenant="acme")
    workspace_id = await deployment.workspace(owner, member=member)
    session_id = await deployment.session(owner, metadata={"secret": "s3cret"})
    invited_elsewhere = agent(tenant="other", name=name_of(member))
    await deployment.call(
        owner,
        "enable_agent_collaboration",
        workspace_id=workspace_id,
        agents=[{"agent_id": name_of(invited_elsewhere)}, {"agent_id": "nobody-at-all"}],
    )
    strangers = [
        agent(tenant="acme"),
        agent(),
        # The same names, of which the credential says something else.
        invited_elsewhere,
        replace(owner, tenant="other"),
        replace(owner, tenant=None),
        replace(owner, permissions=frozenset({"session:*", "Company:*"})),
        replace(owner, claims=MappingProxyType({"user": "mallory"})),
        replace(member, permissions=frozenset({"session:read", "session:write"})),
    ]
    of_nobody = ("as_" + "0" * 32, "ws_" + "0" * 32, "agent-of-nobody")

    async def work() -> None:
        """Something that members do."""
        who = chance.choice([owner, member])
        await deployment.call(
            who,
            "write_blackboard",
            workspace_id=workspace_id,
            key=f"k{chance.randrange(5)}",
            value=chance.random(),
        )
        await deployment.call(owner, "update_agent_context", session_id=session_id, set={"n": 1})

    real = probes(session_id, workspace_id, name_of(owner))
    none = probes(*of_nobody)
    first, *others = strangers
    order = [(first, number) for number in range(len(real))]
    order += [(who, number) for who in others for number in chance.sample(range(len(real)), TRIES)]
    chance.shuffle(order)
    for who, number in order:
        if chance.random() < WORK:
            await work()
        tool, arguments = real[number]
        found = await answer(deployment, who, tool, arguments)
        expected = await answer(deployment, who, tool, none[number][1])
        assert found == expected, (who, tool, arguments)
        assert "s3cret" not in str(found)
    for who in strangers:
        assert (await deployment.call(who, "list_collaborations")) == {
            "workspaces": [],
            "invitations": [],
        }
        assert (await deployment.call(who, "list_agent_sessions"))["count"] == 0

    found = await deployment.call(owner, "list_collaborations", workspace_id=workspace_id)
    [workspace] = found["workspaces"]
    assert {each["agent_id"] for each in workspace["changes"]} <= {name_of(owner), name_of(member)}
    context = await deployment.call(owner, "get_agent_context", session_id=session_id)
    assert context["context"] == {"n": 1}


async def test_who_is_invited_and_not_there_gets_the_answer_that_everybody_gets(
    deployment: Deployment,
) -> None:
    """Inviting tells nothing of whether there is such an agent."""
    owner, same, other = agent(tenant="acme"), agent(tenant="acme"), agent(tenant="other")
    answers = []
    for name in (name_of(same), name_of(other), "agent-that-is-nowhere"):
        made = await deployment.call(
            owner, "enable_agent_collaboration", agents=[{"agent_id": name}]
        )
        for key in ("workspace_id", "created_at", "expires_at"):
            del made[key]
        answers.append(str(made).replace(name, "<name>"))
    # The order of the members follows their names.
    assert len({tuple(sorted(each)) for each in answers}) == 1
    assert len((await deployment.call(same, "list_collaborations"))["invitations"]) == 1
    assert (await deployment.call(other, "list_collaborations"))["invitations"] == []


async def test_of_two_credentials_with_one_name_the_first_takes_the_invitation(
    deployment: Deployment,
) -> None:
    owner, first = agent(), agent()
    second = replace(first, subject=f"jwt:{name_of(first)}", permissions=frozenset({"*"}))
    made = await deployment.call(
        owner, "enable_agent_collaboration", agents=[{"agent_id": name_of(first)}]
    )
    workspace_id = made["workspace_id"]
    answers = await asyncio.gather(
        *(
            answer(
                deployment,
                who,
                "respond_to_invitation",
                {"workspace_id": workspace_id, "accept": True},
            )
            for who in (first, second)
        )
    )
    assert sorted(each.get("code", "joined") for each in answers) == ["joined", "not_found"]
    outside = second if "accepted" in answers[0] else first
    await deployment.call(owner, "send_agent_message", workspace_id=workspace_id, message="hi")
    assert await deployment.call(outside, "list_collaborations") == {
        "workspaces": [],
        "invitations": [],
    }
    for tool, arguments in (
        ("read_blackboard", {}),
        ("read_agent_messages", {"after": 1_000}),
        ("leave_collaboration", {}),
    ):
        refused = await deployment.refused(outside, tool, workspace_id=workspace_id, **arguments)
        assert refused.code == "not_found"
    inside = first if outside is second else second
    mail = await deployment.call(inside, "read_agent_messages", workspace_id=workspace_id)
    assert [each["message"] for each in mail["messages"]] == ["hi"]


async def test_who_waits_for_its_turn_while_it_is_sent_away_writes_nothing(
    deployment: Deployment,
) -> None:
    """Members are looked at anew once it is their turn."""
    owner, guest = agent(), agent()
    for _ in range(5):
        workspace_id = await deployment.workspace(owner, member=guest)
        calls: list[Any] = [
            answer(
                deployment,
                guest,
                "write_blackboard",
                {"workspace_id": workspace_id, "key": f"k{number}", "value": number},
            )
            for number in range(8)
        ]
        calls.insert(
            4,
            deployment.call(
                owner,
                "leave_collaboration",
                workspace_id=workspace_id,
                agent_id=name_of(guest),
            ),
        )
        await asyncio.gather(*calls)
        found = await deployment.call(owner, "list_collaborations", workspace_id=workspace_id)
        changes = found["workspaces"][0]["changes"]
        [removed] = [each["revision"] for each in changes if each["action"] == "removed"]
        assert all(
            each["revision"] < removed for each in changes if each["agent_id"] == name_of(guest)
        )
