"""A workflow session that one agent begins and another one goes on with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError, ServerError
from tests.integration.agents.deployments import Deployment, agent, eventually, name_of


async def begun(deployment: Deployment, who: Principal) -> str:
    """A workflow session with a first step that is done."""
    made = await deployment.call(
        who, "create_agent_workflow_session", workflow_type="custom", session_config={}
    )
    session_id = str(made["workflow_session_id"])
    await step(deployment, who, session_id, "first")
    return session_id


async def step(deployment: Deployment, who: Principal, session_id: str, name: str) -> Any:
    return await deployment.call(who, "execute_workflow_step", **creating(session_id, name))


def creating(session_id: str, name: str) -> dict[str, Any]:
    return {
        "workflow_session_id": session_id,
        "step_name": name,
        "step_config": {
            "type": "dataflow_operation",
            "model": "Company",
            "operation": "create",
            "parameters": {"data": {"name": name, "owner_id": "o"}},
        },
    }


async def test_the_agent_of_a_workflow_session_is_that_of_the_credential(
    deployment: Deployment,
) -> None:
    who = agent()
    begin = {"workflow_type": "custom", "session_config": {}}

    with pytest.raises(ForbiddenError) as refused:
        await deployment.call(
            who, "create_agent_workflow_session", agent_id="somebody-else", **begin
        )
    assert refused.value.field == "agent_id"
    made = await deployment.call(
        who, "create_agent_workflow_session", agent_id=who.agent_id, **begin
    )
    assert made["agent_id"] == who.agent_id


async def test_a_workflow_session_is_handed_over_with_a_message(deployment: Deployment) -> None:
    sender, receiver, third = agent(), agent(), agent()
    workspace_id = await deployment.workspace(sender, member1=receiver, member2=third)
    session_id = await begun(deployment, sender)

    sent = await deployment.call(
        sender,
        "send_agent_message",
        workspace_id=workspace_id,
        message={"please": "go on"},
        to=[name_of(receiver)],
        hand_off=session_id,
    )

    assert sent["delivered_to"] == [name_of(receiver)]
    mail = await deployment.call(receiver, "read_agent_messages", workspace_id=workspace_id)
    assert [each["message"] for each in mail["messages"]] == [
        {"message": {"please": "go on"}, "workflow_session_id": session_id}
    ]
    assert (await step(deployment, receiver, session_id, "second"))["success"] is True
    found = await deployment.call(
        receiver, "get_workflow_session_status", workflow_session_id=session_id
    )
    assert [each["step_name"] for each in found["steps"]] == ["first", "second"]
    for who in (sender, third):
        for tool, arguments in (
            ("get_workflow_session_status", {"workflow_session_id": session_id}),
            ("execute_workflow_step", creating(session_id, "third")),
            (
                "send_agent_message",
                {
                    "workspace_id": workspace_id,
                    "message": "x",
                    "to": [name_of(sender if who is third else third)],
                    "hand_off": session_id,
                },
            ),
        ):
            assert (await deployment.refused(who, tool, **arguments)).code == "not_found"


async def test_a_session_is_handed_to_nobody_who_could_not_take_it(
    deployment: Deployment,
) -> None:
    sender, observer, outside = agent(), agent(), agent()
    workspace_id = await deployment.workspace(sender, observer=observer)
    session_id = await begun(deployment, sender)
    handing = {"workspace_id": workspace_id, "message": "x", "hand_off": session_id}
    for code, who, to in (
        ("invalid_arguments", sender, {}),
        ("invalid_arguments", sender, {"to": [name_of(observer), name_of(outside)]}),
        ("not_found", sender, {"to": [name_of(observer)]}),
        ("not_found", sender, {"to": [name_of(outside)]}),
        ("not_found", sender, {"to": [name_of(sender)]}),
        ("forbidden", observer, {"to": [name_of(sender)]}),
        ("not_found", outside, {"to": [name_of(observer)]}),
    ):
        refused = await deployment.refused(who, "send_agent_message", **handing, **to)
        assert refused.code == code
    assert (await step(deployment, sender, session_id, "second"))["success"] is True
    mail = await deployment.call(observer, "read_agent_messages", workspace_id=workspace_id)
    assert mail["messages"] == []


async def test_what_the_sender_has_done_is_not_undone_by_the_receiver(
    deployment: Deployment,
) -> None:
    """Else the sender's `compensate` would run under permissions that it does not have."""
    sender, receiver = agent("session:*", "workflow:*", "Company:create"), agent()
    workspace_id = await deployment.workspace(sender, member=receiver)
    bait = await deployment.call(
        receiver, "Counter_create", data={"label": "not for the sender to delete"}
    )
    made = await deployment.call(
        sender,
        "create_agent_workflow_session",
        workflow_type="custom",
        session_config={"on_error": "compensate"},
    )
    session_id = str(made["workflow_session_id"])
    trap = creating(session_id, "first")
    trap["step_config"]["compensate"] = {
        "type": "tool",
        "tool": "Counter_delete",
        "arguments": {"id": bait["id"]},
    }
    await deployment.call(sender, "execute_workflow_step", **trap)
    handing = {"workspace_id": workspace_id, "message": "x", "hand_off": session_id}
    await deployment.call(sender, "send_agent_message", to=[name_of(receiver)], **handing)

    own = creating(session_id, "second")
    own["step_config"]["compensate"] = {
        "type": "tool",
        "tool": "Company_delete",
        "arguments": {"id": "{{result.id}}"},
    }
    done = await deployment.call(receiver, "execute_workflow_step", **own)
    failing = creating(session_id, "third")
    failing["step_config"] |= {"operation": "read", "parameters": {"id": "nobody"}}
    with pytest.raises(ServerError) as failed:
        await deployment.call(receiver, "execute_workflow_step", **failing)
    assert failed.value.details is not None
    assert failed.value.details["compensated"] == ["second"]
    await deployment.call(receiver, "Counter_read", id=bait["id"])
    gone = await deployment.refused(receiver, "Company_read", id=done["result"]["id"])
    assert gone.code == "not_found"

    handing["to"] = [name_of(sender)]
    over = await deployment.refused(receiver, "send_agent_message", **handing)
    assert over.code == "conflict"
    assert over.field == "workflow_session_id"


async def test_a_hand_off_that_is_cancelled_leaves_the_session_with_somebody_who_knows(
    deployment: Deployment,
) -> None:
    sender, receiver = agent(), agent()
    workspace_id = await deployment.workspace(sender, member=receiver)
    for number in range(12):
        session_id = await begun(deployment, sender)
        handing = asyncio.create_task(
            deployment.call(
                sender,
                "send_agent_message",
                workspace_id=workspace_id,
                message="go on",
                to=[name_of(receiver)],
                hand_off=session_id,
            )
        )
        await asyncio.sleep(number * 0.0007)
        handing.cancel()
        await asyncio.wait({handing})

        async def knows(session_id: str = session_id) -> bool:
            mail = await deployment.call(
                receiver, "read_agent_messages", workspace_id=workspace_id, limit=200
            )
            told = [each["message"]["workflow_session_id"] for each in mail["messages"]]
            owner = receiver if session_id in told else sender
            try:
                await step(deployment, owner, session_id, "then")
            except ServerError:
                return False
            return True

        await eventually(knows)
