"""The tools over agent sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.agent_values import (
    MAX_CAPABILITIES,
    MAX_CONTEXT_BYTES,
    MAX_CONTEXT_KEYS,
    MAX_METADATA_BYTES,
)
from kailash_mcp_prod.sessions.arguments import (
    Arguments,
    array,
    handle,
    json_object,
    nested,
    text,
    whole,
)
from kailash_mcp_prod.sessions.identity import name_of, owner_digest
from kailash_mcp_prod.sessions.toolkit import (
    ADDS,
    CHANGES,
    ENDS,
    INSTANT,
    NUMBER,
    OBJECT,
    READS,
    TEXT,
    WHOLE,
    agent_tool,
    each,
    result,
)
from kailash_mcp_prod.tools.claimed_agent import check_agent
from kailash_mcp_prod.tools.spec import Handler, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.agent_sessions import AgentSessions

CREATE: Final = "create_agent_session"
GET: Final = "get_agent_session"
LIST: Final = "list_agent_sessions"
END: Final = "end_agent_session"
GET_CONTEXT: Final = "get_agent_context"
UPDATE_CONTEXT: Final = "update_agent_context"

_PAGE: Final = 50
_MOST: Final = 200
_SESSION: Final = handle().saying("As create_agent_session returned it.")


def agent_session_tools(sessions: AgentSessions) -> Iterator[ToolSpec]:
    """The tools.

    Args:
        sessions: What they work on.
    """
    for make in (_create, _get, _list, _get_context, _update_context, _end):
        yield make(sessions)


def _create(sessions: AgentSessions) -> ToolSpec:
    form = Arguments(
        {
            "agent_id": text(255).saying("Yours; by default what your credential says."),
            "agent_info": nested(
                {
                    "name": text(255),
                    "type": text(128),
                    "model": text(255),
                    "version": text(64),
                    "description": text(1_000),
                    "capabilities": array(text(128), MAX_CAPABILITIES),
                    "metadata": json_object(MAX_METADATA_BYTES, 64),
                }
            ).saying("What you say of yourself."),
        }
    )

    async def handle(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        claimed = given.get("agent_id")
        if claimed is not None:
            check_agent(call.principal, claimed, "agent_id")
        info = dict(given.get("agent_info", {}))
        if "metadata" in info:
            # As given: the form has seen that it is JSON and not too large.
            info["metadata"] = call.arguments["agent_info"]["metadata"]
        store = await sessions.store()
        made = await store.create(
            owner_digest(call.principal), claimed or name_of(call.principal), info
        )
        return made.to_dict(sessions.timeout_seconds)

    return agent_tool(
        CREATE,
        "Begin a session",
        "Begins a session of yours, which keeps a context and counts your calls. Give its "
        "session_id as _session_id in the arguments of any tool to count that call there. It ends "
        f"after {sessions.timeout_seconds / 60:g} minutes without a call.",
        form,
        output=_AGENT_SESSION,
        hints=ADDS,
        handler=handle,
        brief="Begins a session: give its session_id as _session_id to any tool. agent_info: "
        "capabilities, metadata.",
        hidden=("agent_id",),
        plain=("agent_info",),
    )


def _get(sessions: AgentSessions) -> ToolSpec:
    async def work(call: ToolCall, session_id: str) -> dict[str, Any]:
        await sessions.settle(call.principal, [session_id])
        found = await (await sessions.store()).get(owner_digest(call.principal), session_id)
        return found.to_dict(sessions.timeout_seconds)

    form, handle = _of_one(sessions, work)
    return agent_tool(
        GET,
        "Get a session",
        "Returns a session of yours: what it is, how many calls it made, how long they took.",
        form,
        output=_AGENT_SESSION,
        hints=READS,
        handler=handle,
        brief="Returns a session.",
    )


def _list(sessions: AgentSessions) -> ToolSpec:
    form = Arguments(
        {
            "limit": whole(1, _MOST).by_default(_PAGE),
            "after": handle().saying("The session_id of the last one of the page before."),
        }
    )

    async def work(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        limit = given.get("limit", _PAGE)
        owner = owner_digest(call.principal)
        found = await (await sessions.store()).all(owner, limit + 1, given.get("after"))
        shown = [one.to_dict(sessions.timeout_seconds) for one in found[:limit]]
        more = {"next": found[limit - 1].id} if len(found) > limit else {}
        return {"sessions": shown, "count": len(shown), **more}

    return agent_tool(
        LIST,
        "List your sessions",
        "Lists your sessions, the newest first. If there are more, next is the after of the next "
        "page.",
        form,
        output=result({"sessions": each(_AGENT_SESSION), "count": WHOLE, "next": TEXT}, "next"),
        hints=READS,
        handler=work,
        brief="Lists your sessions.",
        hidden=("limit", "after"),
    )


def _get_context(sessions: AgentSessions) -> ToolSpec:
    async def work(call: ToolCall, session_id: str) -> dict[str, Any]:
        store = await sessions.store()
        return (await store.context(owner_digest(call.principal), session_id)).to_dict()

    form, handle = _of_one(sessions, work)
    return agent_tool(
        GET_CONTEXT,
        "Read a context",
        "Returns what you keep in a session, and its version.",
        form,
        output=_CONTEXT,
        hints=READS,
        handler=handle,
        brief="Returns what a session keeps.",
    )


def _update_context(sessions: AgentSessions) -> ToolSpec:
    form = Arguments(
        {
            "session_id": _SESSION,
            "set": json_object(MAX_CONTEXT_BYTES, MAX_CONTEXT_KEYS).saying("Values by key."),
            "delete": array(text(255), MAX_CONTEXT_KEYS).saying("Keys to remove."),
            "expected_version": whole(0, 2**31 - 1).saying(
                "Change it only if it is at this version."
            ),
        },
        ["session_id"],
    )

    async def work(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        session_id = given["session_id"]
        if not (given.get("set") or given.get("delete")):
            raise InvalidArgumentsError(
                "set: give values to set, or names of keys to delete.", field="set"
            )
        async with sessions.touching(call, session_id):
            changed = await (await sessions.store()).change_context(
                owner_digest(call.principal),
                session_id,
                given.get("set", {}),
                given.get("delete", ()),
                given.get("expected_version"),
            )
        return {"session_id": session_id, "version": changed.version, "keys": list(changed.values)}

    return agent_tool(
        UPDATE_CONTEXT,
        "Change a context",
        "Sets and deletes keys of what you keep in a session, all at once. With expected_version "
        "it fails as a conflict if somebody has changed it meanwhile.",
        form,
        output=result({"session_id": TEXT, "version": WHOLE, "keys": each(TEXT)}),
        hints=CHANGES,
        handler=work,
        brief="Sets and deletes keys of what a session keeps.",
    )


def _end(sessions: AgentSessions) -> ToolSpec:
    form = Arguments({"session_id": _SESSION}, ["session_id"])

    async def work(call: ToolCall) -> dict[str, Any]:
        session_id = form.check(call.arguments)["session_id"]
        await sessions.settle(call.principal, [session_id])
        found = await (await sessions.store()).end(owner_digest(call.principal), session_id)
        return {"session_id": session_id, "ended": True, **found.figures.to_dict()}

    return agent_tool(
        END,
        "End a session",
        "Ends a session of yours for good; its context is gone.",
        form,
        output=result({"session_id": TEXT, "ended": {"const": True}, **_FIGURES}),
        hints=ENDS,
        handler=work,
        brief="Ends a session.",
    )


def _of_one(
    sessions: AgentSessions, work: Callable[[ToolCall, str], Awaitable[dict[str, Any]]]
) -> tuple[Arguments, Handler]:
    """The form and the handler of a tool that takes a session and nothing else."""
    form = Arguments({"session_id": _SESSION}, ["session_id"])

    async def handle(call: ToolCall) -> dict[str, Any]:
        session_id = form.check(call.arguments)["session_id"]
        async with sessions.touching(call, session_id):
            return await work(call, session_id)

    return form, handle


_FIGURES: Final = {
    "request_count": WHOLE,
    "error_count": WHOLE,
    "average_response_time_ms": NUMBER,
    "slowest_response_time_ms": NUMBER,
}
_AGENT_SESSION: Final = result(
    {
        "session_id": TEXT,
        "agent_id": TEXT,
        "name": TEXT,
        "type": TEXT,
        "model": TEXT,
        "version": TEXT,
        "description": TEXT,
        "capabilities": each(TEXT),
        "metadata": OBJECT,
        "created_at": INSTANT,
        "last_activity": INSTANT,
        "expires_at": INSTANT,
        **_FIGURES,
        "context_version": WHOLE,
    },
    *("name", "type", "model", "version", "description"),
)
_CONTEXT: Final = result({"context": OBJECT, "version": WHOLE})
