"""The tools that become tasks, in the words of the suite's descriptions of them."""

from __future__ import annotations

import asyncio
import json

from kailash_mcp_prod.protocol import Ask, Peer, RpcError, ToolContent
from kailash_mcp_prod.protocol.faults import INTERNAL_ERROR
from tests.conformance.content import form, text
from tests.conformance.tools import Arguments, Tool, needs, says

_SHORT_SECONDS = 0.2
_CONFIRMATION = form(confirm={"type": "boolean"})
_NAME = form(name={"type": "string"})
_SECONDS = {
    "type": "object",
    "properties": {
        "seconds": {"type": "number", "minimum": 0, "maximum": 60},
        "label": {"type": "string"},
    },
    "required": ["seconds"],
}


async def _greet(arguments: Arguments, _peer: Peer) -> ToolContent:
    return says(f"Hello, {arguments['name']}!")


async def _slow_compute(arguments: Arguments, peer: Peer) -> ToolContent:
    if arguments["seconds"]:
        await peer.defer()
        await asyncio.sleep(arguments["seconds"])
    return says(f"Computed {arguments.get('label', 'it')} in {arguments['seconds']} s")


async def _failing_job(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.defer(required=True)
    await asyncio.sleep(_SHORT_SECONDS)
    return ToolContent([text("This job always fails")], is_error=True)


async def _protocol_error_job(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.defer()
    raise RpcError(INTERNAL_ERROR, "This job always ends in a protocol error.")


async def _confirm_delete(arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.defer()
    answer = await peer.elicit(f"Delete {arguments['filename']}?", _CONFIRMATION, "confirm")
    return says(f"The user said: {json.dumps(answer)}")


async def _multi_input(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.defer()
    questions = {"first": "What is your first name?", "last": "What is your last name?"}
    asked = {
        key: Ask("elicitation/create", {"message": message, "requestedSchema": _NAME})
        for key, message in questions.items()
    }
    return says(f"The user said: {json.dumps(await peer.ask(asked))}")


async def _asks_then_takes_long(_arguments: Arguments, peer: Peer) -> ToolContent:
    answer = await peer.elicit("What is your name?", _NAME, "user_name")
    await peer.defer(required=True)
    await asyncio.sleep(_SHORT_SECONDS)
    return says(f"Done for {json.dumps(answer.get('content'))}")


TASK_TOOLS = [
    Tool("greet", _greet, needs(name="Whom to greet")),
    Tool("slow_compute", _slow_compute, _SECONDS),
    Tool("failing_job", _failing_job),
    Tool("protocol_error_job", _protocol_error_job),
    Tool("confirm_delete", _confirm_delete, needs(filename="What to delete")),
    Tool("multi_input", _multi_input),
    Tool("test_tool_with_task", _asks_then_takes_long),
]
"""Tools that go on after their call was answered, and one that never does."""
