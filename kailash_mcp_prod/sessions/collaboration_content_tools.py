"""The tools over what is in a workspace: its blackboard, its mailboxes and its leases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kailash_mcp_prod.sessions.arguments import (
    Arguments,
    flag,
    handle,
    json_value,
    one_or_more,
    record_key,
    refuse,
    text,
    whole,
)
from kailash_mcp_prod.sessions.collaboration_values import (
    MAX_ENTRY_BYTES,
    MAX_LEASE_SECONDS,
    MAX_MEMBERS,
    MAX_MESSAGE_BYTES,
)
from kailash_mcp_prod.sessions.identity import Caller
from kailash_mcp_prod.sessions.toolkit import (
    ADDS,
    CHANGES,
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

WRITE: Final = "write_blackboard"
READ: Final = "read_blackboard"
SEND: Final = "send_agent_message"
RECEIVE: Final = "read_agent_messages"
ACQUIRE: Final = "acquire_lease"
RELEASE: Final = "release_lease"

_ID: Final = handle()
_PAGE: Final = 50
_MOST: Final = 200
_LEASE_SECONDS: Final = 60
_VERSION: Final = whole(0, 2**53)
_TOKEN: Final = whole(1, 2**53)


def content_tools(work: Collaboration) -> Iterator[ToolSpec]:
    """The tools.

    Args:
        work: What they work on.
    """
    for make in (_write, _read, _send, _receive, _acquire, _release):
        yield make(work)


def _write(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "key": text(255),
            "value": json_value(MAX_ENTRY_BYTES).saying("Any JSON value."),
            "delete": flag().saying("Take the entry away instead."),
            "expected_version": _VERSION.saying(
                "Write only if the entry is at this version; 0 if there is to be none."
            ),
            "fencing_token": _TOKEN.saying("Write only while you hold this lease."),
        },
        ["workspace_id", "key"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        deletes = given.get("delete", False)
        if deletes == ("value" in given):
            raise refuse("value", "give either a value, or delete as true")
        store = await work.store()
        version = await store.board.write(
            Caller.of(call.principal),
            given["workspace_id"],
            given["key"],
            None if deletes else given["value"],
            expected=given.get("expected_version"),
            fencing_token=given.get("fencing_token"),
        )
        return {"key": given["key"], "version": version, "deleted": deletes}

    return agent_tool(
        WRITE,
        "Write to a blackboard",
        "Sets or deletes an entry of a workspace's blackboard, which all members read. With "
        "expected_version it fails as a conflict if somebody has changed the entry meanwhile.",
        form,
        output=result({"key": TEXT, "version": WHOLE, "deleted": FLAG}),
        hints=CHANGES,
        handler=handle_call,
        brief="Sets or deletes an entry of a shared blackboard.",
        hidden=("fencing_token",),
    )


def _read(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "key": text(255).saying("Only this entry."),
            "since": _VERSION.saying("Only entries of later versions."),
            "after": text(255).saying("next of the page before."),
            "limit": whole(1, _MOST).by_default(_PAGE),
        },
        ["workspace_id"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        limit = given.get("limit", _PAGE)
        store = await work.store()
        found, revision = await store.board.read(
            Caller.of(call.principal),
            given["workspace_id"],
            key=given.get("key"),
            since=given.get("since", 0),
            after=given.get("after", ""),
            limit=limit + 1,
        )
        more = {"next": found[limit - 1].key} if len(found) > limit else {}
        return {"entries": [one.to_dict() for one in found[:limit]], "revision": revision, **more}

    return agent_tool(
        READ,
        "Read a blackboard",
        "Returns the entries of a workspace's blackboard in the order of their keys. If there are "
        "more, next is the after of the next page. Deletions are among the changes of "
        "list_collaborations.",
        form,
        output=result({"entries": each(_ENTRY), "revision": WHOLE, "next": TEXT}, "next"),
        hints=READS,
        handler=handle_call,
        brief="Returns a blackboard's entries.",
        hidden=("since", "after", "limit"),
    )


def _send(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "message": json_value(MAX_MESSAGE_BYTES).saying("Text, or any JSON value."),
            "to": one_or_more(text(255), MAX_MEMBERS).saying("Their agent_ids; all by default."),
            "hand_off": handle().saying(
                "A workflow_session_id of yours, which becomes the session of the one in to."
            ),
        },
        ["workspace_id", "message"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller, store = Caller.of(call.principal), await work.store()
        if "hand_off" in given:
            message_id, told, full = await _hand_off(work, caller, given)
        else:
            message_id, told, full = await store.mail.send(
                caller, given["workspace_id"], given["message"], given.get("to")
            )
        return {"message_id": message_id, "delivered_to": told, "mailbox_full": full}

    return agent_tool(
        SEND,
        "Send a message",
        "Puts a message into the mailboxes of other members of a workspace. Those whose mailbox "
        "is full do not get it. hand_off gives a workflow session of yours to the one in to: its "
        "message is {message, workflow_session_id}.",
        form,
        output=result(
            {"message_id": WHOLE, "delivered_to": each(TEXT), "mailbox_full": each(TEXT)}
        ),
        hints=ADDS,
        handler=handle_call,
        brief="Sends a message to members; to: some agent_ids. hand_off: a workflow_session_id.",
        hidden=("hand_off",),
    )


async def _hand_off(
    work: Collaboration, caller: Caller, given: dict[str, Any]
) -> tuple[int, list[str], list[str]]:
    """Makes a workflow session another member's, and tells it which one."""
    to, session_id, workspace_id = given.get("to", []), given["hand_off"], given["workspace_id"]
    if len(to) != 1:
        raise refuse("to", "name the one agent that gets the workflow session")
    body = msgspec.json.encode(
        {"message": msgspec.Raw(given["message"].encode()), "workflow_session_id": session_id}
    )
    store = await work.store()
    # First, so that whoever takes no part learns nothing of sessions here.
    await store.mail.check(caller, workspace_id)
    give = await work.hand_over(session_id, caller.owner)
    return await store.mail.hand(caller, workspace_id, body.decode(), to[0], give)


def _receive(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "after": _VERSION.saying(
                "The last message_id that you are done with: it and earlier ones are removed."
            ),
            "limit": whole(1, _MOST).by_default(_PAGE),
        },
        ["workspace_id"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        store = await work.store()
        found, more = await store.mail.read(
            Caller.of(call.principal),
            given["workspace_id"],
            after=given.get("after"),
            limit=given.get("limit", _PAGE),
        )
        return {"messages": [one.to_dict() for one in found], "more": more}

    return agent_tool(
        RECEIVE,
        "Read your messages",
        "Returns the messages that wait for you in a workspace, the oldest first. They stay until "
        "you say with after that you are done with them.",
        form,
        output=result({"messages": each(_MESSAGE), "more": FLAG}),
        hints=ENDS,
        handler=handle_call,
        brief="Returns your messages. after: remove up to this one.",
        hidden=("limit",),
    )


def _acquire(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {
            "workspace_id": _ID,
            "model": text(255),
            "id": record_key(),
            "ttl_seconds": whole(1, MAX_LEASE_SECONDS).by_default(_LEASE_SECONDS),
            "fencing_token": _TOKEN.saying("Of your lease that is to last on."),
        },
        ["workspace_id", "model", "id"],
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        caller, store = Caller.of(call.principal), await work.store()
        # First, so that whoever takes no part learns nothing of records here either.
        await store.leases.check(caller, given["workspace_id"])
        await work.readable(call, given["model"], given["id"])
        lease = await store.leases.acquire(
            caller,
            given["workspace_id"],
            given["model"],
            _key(given["id"]),
            seconds=given.get("ttl_seconds", _LEASE_SECONDS),
            token=given.get("fencing_token"),
        )
        return lease.to_dict()

    return agent_tool(
        ACQUIRE,
        "Take a lease on a record",
        "Says to a workspace that you work on a record. Nobody else there gets a lease on it "
        "meanwhile. The fencing_token of a later lease is always higher. Call it again with your "
        "token before the lease expires to make it last on.",
        form,
        output=LEASE,
        hints=ADDS,
        handler=handle_call,
        brief="Says that you work on a record; its fencing_token renews it.",
        untyped=("id",),
    )


def _release(work: Collaboration) -> ToolSpec:
    form = Arguments(
        {"workspace_id": _ID, "fencing_token": _TOKEN}, ["workspace_id", "fencing_token"]
    )

    async def handle_call(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        store = await work.store()
        token = given["fencing_token"]
        await store.leases.release(Caller.of(call.principal), given["workspace_id"], token)
        return {"fencing_token": token, "released": True}

    return agent_tool(
        RELEASE,
        "Release a lease",
        "Gives back a lease that you hold, before its time is over.",
        form,
        output=result({"fencing_token": WHOLE, "released": {"const": True}}),
        hints=ENDS,
        handler=handle_call,
        brief="Gives back a lease.",
    )


def _key(record_id: str | int) -> str:
    # Escapes what no database takes; a text and a number are two records.
    return msgspec.json.encode(record_id).decode()


_ENTRY: Final = result(
    {"key": TEXT, "value": {}, "version": WHOLE, "agent_id": TEXT, "updated_at": INSTANT}
)
_MESSAGE: Final = result({"message_id": WHOLE, "from": TEXT, "message": {}, "sent_at": INSTANT})
