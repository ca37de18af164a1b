"""The steps on sessions of agents, and on what they do together."""

from __future__ import annotations

from typing import Any, Final

from kailash_mcp_prod.demo.running import Step
from kailash_mcp_prod.demo.stage import Stage, StepFailedError

_SESSION: Final = "Session"
_TOGETHER: Final = "Collaboration"
_INFO: Final[dict[str, Any]] = {
    "type": "llm_agent",
    "model": "demo",
    "capabilities": ["dataflow_operations", "analysis", "reporting"],
}


async def _begin(stage: Stage) -> str:
    session = await stage.call("create_agent_session", agent_info=_INFO)
    stage.made["session_id"] = session["session_id"]
    return f"{session['agent_id']} with {len(session['capabilities'])} capabilities"


async def _remember(stage: Stage) -> str:
    session = stage.made["session_id"]
    kept = await stage.call("update_agent_context", session_id=session, set={"mark": stage.mark})
    found = await stage.call("get_agent_context", session_id=session)
    if found["context"].get("mark") != stage.mark:
        raise StepFailedError("What was kept is not what is read.")
    return f"the context is at version {kept['version']}"


async def _count(stage: Stage) -> str:
    found = await stage.call("get_agent_session", session_id=stage.made["session_id"])
    return f"{found['request_count']} calls, {found['error_count']} errors"


async def _end(stage: Stage) -> str:
    ended = await stage.call("end_agent_session", session_id=stage.made.pop("session_id"))
    return f"{ended['request_count']} calls were made in it"


async def _workspace(stage: Stage) -> str:
    made = await stage.call("enable_agent_collaboration", name=f"Demo {stage.mark}")
    stage.made["workspace_id"] = made["workspace_id"]
    return f"workspace {made['name']!r}"


async def _invite(stage: Stage) -> str:
    partner = await stage.call_as_partner("create_agent_session", agent_info=_INFO)
    stage.made["partner_session"] = partner["session_id"]
    here = _here(stage)
    await stage.call(
        "enable_agent_collaboration",
        **here,
        agents=[{"agent_id": partner["agent_id"], "role": "member"}],
    )
    answer = await stage.call_as_partner("respond_to_invitation", **here, accept=True)
    stage.made["partner"] = partner["agent_id"]
    return f"{partner['agent_id']} is {answer['role']}"


async def _share(stage: Stage) -> str:
    here = _here(stage)
    entry = await stage.call(
        "write_blackboard", **here, key="goal", value={"mark": stage.mark}, expected_version=0
    )
    read = stage.call_as_partner if "partner" in stage.made else stage.call
    board = await read("read_blackboard", **here)
    if [each["value"] for each in board["entries"]] != [{"mark": stage.mark}]:
        raise StepFailedError("What was written is not what is read.")
    return f"{entry['key']} at version {entry['version']}"


async def _message(stage: Stage) -> str:
    here = _here(stage)
    await stage.call("send_agent_message", **here, message=f"Hello, {stage.made['partner']}")
    [message] = (await stage.call_as_partner("read_agent_messages", **here))["messages"]
    return f"{message['from']} wrote {message['message']!r}"


async def _close(stage: Stage) -> str:
    here = _here(stage)
    if session := stage.made.pop("partner_session", None):
        await stage.call_as_partner("end_agent_session", session_id=session)
    await stage.call("leave_collaboration", **here, close=True)
    del stage.made["workspace_id"]
    return "the workspace is closed"


def _here(stage: Stage) -> dict[str, str]:
    return {"workspace_id": stage.made["workspace_id"]}


BEGIN: Final = (
    Step(_SESSION, "begin a session", _begin, tools=("create_agent_session",)),
    Step(
        _SESSION,
        "keep a context",
        _remember,
        tools=("update_agent_context", "get_agent_context"),
        needs=("session_id",),
    ),
)
TOGETHER: Final = (
    Step(_TOGETHER, "open a workspace", _workspace, tools=("enable_agent_collaboration",)),
    Step(
        _TOGETHER,
        "invite a second agent",
        _invite,
        tools=("respond_to_invitation",),
        needs=("workspace_id",),
        partner=True,
    ),
    Step(
        _TOGETHER,
        "share a blackboard",
        _share,
        tools=("write_blackboard", "read_blackboard"),
        needs=("workspace_id",),
    ),
    Step(
        _TOGETHER,
        "send a message",
        _message,
        tools=("send_agent_message", "read_agent_messages"),
        needs=("workspace_id", "partner"),
        partner=True,
    ),
    Step(
        _TOGETHER,
        "close the workspace",
        _close,
        tools=("leave_collaboration",),
        needs=("workspace_id",),
    ),
)
END: Final = (
    Step(_SESSION, "see its calls", _count, tools=("get_agent_session",), needs=("session_id",)),
    Step(_SESSION, "end it", _end, tools=("end_agent_session",), needs=("session_id",)),
)
