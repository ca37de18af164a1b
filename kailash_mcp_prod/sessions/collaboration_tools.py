"""The tools by which agents take part in workspaces; those of what is in them are in others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.arguments import (
    Arguments,
    array,
    choice,
    flag,
    handle,
    nested,
    or_text,
    refuse,
    text,
    whole,
)
from kailash_mcp_prod.sessions.collaboration_content_tools import content_tools
from kailash_mcp_prod.sessions.collaboration_values import (
    MAX_MEMBERS,
    MAX_TTL_MINUTES,
    MEMBER,
    ROLES,
    TTL_MINUTES,
    Record,
    Workspace,
)
from kailash_mcp_prod.sessions.identity import Caller
from kailash_mcp_prod.sessions.toolkit import (
    ADDS,
    ENDS,
    FLAG,
    INSTANT,
    LEASE,
    READS,
    TEXT,
    WHOLE,
    agent_tool,
    each,
    result,
)
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.collaboration import Collaboration

ENABLE: Final = "enable_agent_collaboration"
RESPOND: Final = "respond_to_invitation"
LIST: Final = "list_collaborations"
LEAVE: Final = "leave_collaboration"

_CHANGES: Final = 50
_MOST_CHANGES: Final = 200
_MOST_LISTED: Final = 200
_ID: Final = handle()


def collaboration_tools(work: Collaboration) -> Iterator[ToolSpec]:
    """All tools over workspaces.

    Args:
        work: What they work on.
    """
    own = (make(work) for make in (_enable, _respond, _list, _leave))
    return chain(own, content_tools(work))


def _enable(work: Collaboration) -> ToolSpec:
    named = text(255)
    role = choice(*ROLES).by_default(MEMBER)
    agent = or_text(named, nested({"agent_id": named, "role": role}, ["agent_id"]), "agent_id")
    form = Arguments(
        {
            "workspace_id": _ID.saying("Of yours; a new one is made when absent."),
            "name": text(255).saying("What the workspace is called."),
            "agents": array(agent, MAX_MEMBERS).saying("Who is invited, or gets another role."),
            "ttl_minutes": whole(1, MAX_TTL_MINUTES)
            .saying("How long the workspace lasts from now.")
            .by_default(TTL_MINUTES),
        }
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller = Caller.of(call.principal)
        store = await work.store()
        agents = _roles(given.get("agents", []))
        minutes = given.get("ttl_minutes")
        workspace_id = given.get("workspace_id")
        if workspace_id is None:
            workspace_id = await store.create(
                caller, given.get("name", "Workspace"), agents, (minutes or TTL_MINUTES) * 60
            )
        else:
            if not given.keys() - {"workspace_id"}:
                raise InvalidArgumentsError("Say what to change: agents, name or ttl_minutes.")
            await store.invite(
                caller,
                workspace_id,
                agents,
                name=given.get("name"),
                ttl_seconds=None if minutes is None else minutes * 60,
            )
        found = await store.get(caller, workspace_id, since=None, limit=1)
        return {
            **found.part.to_dict(),
            "members": [one.to_dict() for one in found.members],
            "invited": list(agents),
        }

    return agent_tool(
        ENABLE,
        "Work with other agents",
        "Makes a workspace that you own and invites agents to it by their agent_id, or invites "
        "more to one of yours and changes roles. owner: everything. member: writes. observer: "
        "only reads. Whether there is such an agent is not told; it has to accept.",
        form,
        output=result({**_PART, "members": each(_MEMBER), "invited": each(TEXT)}),
        hints=ADDS,
        handler=handle_call,
        brief="Makes a workspace, or takes yours, and invites agents: [{agent_id, role}]; role: "
        "owner, member, observer.",
        plain=("agents",),
        hidden=("name", "ttl_minutes"),
    )


def _roles(agents: Sequence[Mapping[str, str]]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for number, one in enumerate(agents):
        if one["agent_id"] in roles:
            raise refuse(f"agents[{number}].agent_id", "name each agent once")
        roles[one["agent_id"]] = one.get("role", MEMBER)
    return roles


def _respond(work: Collaboration) -> ToolSpec:
    form = Arguments({"workspace_id": _ID, "accept": flag()}, ["workspace_id", "accept"])

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller, store = Caller.of(call.principal), await work.store()
        accept = given["accept"]
        role = await store.respond(caller, given["workspace_id"], accept=accept)
        joined = {"role": role} if accept else {}
        return {"workspace_id": given["workspace_id"], "accepted": accept, **joined}

    return agent_tool(
        RESPOND,
        "Answer an invitation",
        "Accepts or declines an invitation to a workspace. list_collaborations has yours.",
        form,
        output=result({"workspace_id": TEXT, "accepted": FLAG, "role": TEXT}, "role"),
        hints=ADDS,
        handler=handle_call,
        brief="Accepts or declines an invitation.",
    )


def _list(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID.saying("Only this one, with what there is to know of it."),
            "since": whole(0, 2**53).saying("Only changes after this revision, the oldest first."),
            "limit": whole(1, _MOST_CHANGES).saying("Of changes.").by_default(_CHANGES),
        }
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller, store = Caller.of(call.principal), await work.store()
        workspace_id = given.get("workspace_id")
        if workspace_id is None:
            if given:
                raise refuse("workspace_id", "name the workspace whose changes you want")
            joined, invited = await store.parts(caller, _MOST_LISTED)
            return {
                "workspaces": [one.to_dict() for one in joined],
                "invitations": [one.to_invitation() for one in invited],
            }
        since, limit = given.get("since"), given.get("limit", _CHANGES)
        found = await store.get(caller, workspace_id, since=since, limit=limit)
        return {"workspaces": [await _described(work, call, found)], "invitations": []}

    return agent_tool(
        LIST,
        "List your workspaces",
        "Lists the workspaces in which you take part, and your invitations; the newest first, "
        f"{_MOST_LISTED} of each at most. With workspace_id, that one: who takes part, who works "
        "on which record, and what has changed, without since the last changes. To be told of "
        "changes, watch the resource collaboration://{workspace_id}.",
        form,
        output=result({"workspaces": each(_WORKSPACE), "invitations": each(_INVITATION)}),
        hints=READS,
        handler=handle_call,
        brief="Lists your workspaces and invitations; of one, all of it.",
        hidden=("limit",),
    )


async def _described(work: Collaboration, call: ToolCall, found: Workspace) -> dict[str, Any]:
    """A workspace as results have it: it names no record that does not exist for the caller."""
    named = {one.of for one in found.leases}
    named |= {one.record for one in found.changes if one.record is not None}
    seen: set[Record] = set()
    for model in {model for model, _ in named}:
        ids = [each for of, each in named if of == model]
        seen |= {(model, each) for each in await work.readable_among(call, model, ids)}
    return {
        **found.part.to_dict(),
        "members": [one.to_dict() for one in found.members],
        "leases": [one.to_dict() for one in found.leases if one.of in seen],
        "changes": [
            (
                one if one.record is None or one.record in seen else replace(one, subject="")
            ).to_dict()
            for one in found.changes
        ],
        "more": found.more,
    }


def _leave(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "agent_id": text(255).saying("The agent that you, an owner, send away."),
            "close": flag().saying("End the workspace for all, as an owner."),
        },
        ["workspace_id"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller, store = Caller.of(call.principal), await work.store()
        workspace_id, agent_id = given["workspace_id"], given.get("agent_id")
        if given.get("close") and agent_id is not None:
            raise refuse("close", "close the workspace or send an agent away, not both")
        if given.get("close"):
            await store.close(caller, workspace_id)
            done = "closed"
        elif agent_id is not None:
            await store.remove(caller, workspace_id, agent_id)
            done = "removed"
        else:
            await store.leave(caller, workspace_id)
            done = "left"
        return {"workspace_id": workspace_id, "outcome": done}

    return agent_tool(
        LEAVE,
        "Leave a workspace",
        "Leaves a workspace. An owner may send another agent away instead, or close the workspace "
        "for all.",
        form,
        output=result({"workspace_id": TEXT, "outcome": {"enum": ["left", "removed", "closed"]}}),
        hints=ENDS,
        handler=handle_call,
        brief="Leaves a workspace; owners may close it or remove agent_id.",
    )


_PART: Final = {
    "workspace_id": TEXT,
    "name": TEXT,
    "role": TEXT,
    "revision": WHOLE,
    "created_at": INSTANT,
    "expires_at": INSTANT,
}
_MEMBER: Final = result({"agent_id": TEXT, "role": TEXT, "state": TEXT})
_INVITATION: Final = result(
    {"workspace_id": TEXT, "name": TEXT, "role": TEXT, "invited_by": TEXT, "expires_at": INSTANT}
)
_EVENT: Final = result(
    {"revision": WHOLE, "at": INSTANT, "agent_id": TEXT, "action": TEXT, "subject": TEXT}
)
_WORKSPACE: Final = result(
    {
        **_PART,
        "members": each(_MEMBER),
        "leases": each(LEASE),
        "changes": each(_EVENT),
        "more": FLAG,
    },
    "members",
    "leases",
    "changes",
    "more",
)
