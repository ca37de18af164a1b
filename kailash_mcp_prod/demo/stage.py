"""What the steps of a demonstration share: the clients, the tools, what was made before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from kailash_mcp_prod.client import ToolClient


class StepFailedError(Exception):
    """A call was refused; the text is the server's own, and so is the code, if there is one."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Stage:
    """Where a demonstration takes place.

    Attributes:
        agent: The client of the agent that most is about.
        partner: That of another agent, with a credential of its own; `None` if there is none.
        tools: The schemas of the arguments of the tools that the agent sees, by name.
        made: What earlier steps have made, by a name of theirs.
        mark: Stands in the texts of this demonstration alone.
    """

    agent: ToolClient
    partner: ToolClient | None
    tools: Mapping[str, Mapping[str, Any]]
    made: dict[str, Any] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid4().hex[:8])

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The result of a call of the agent's.

        Raises:
            StepFailedError: The call failed.
        """
        if session := self.made.get("session_id"):
            arguments.setdefault("_session_id", session)
        return await _result(self.agent, tool, arguments)

    async def call_as_partner(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The result of a call of the partner's.

        Raises:
            StepFailedError: The call failed.
        """
        assert self.partner is not None  # noqa: S101 - such steps need one
        return await _result(self.partner, tool, arguments)


async def open_stage(agent: ToolClient, partner: ToolClient | None) -> Stage:
    """The stage, once the server has told its tools."""
    tools = {tool["name"]: tool["inputSchema"] for tool in await agent.tools()}
    return Stage(agent, partner, tools)


async def _result(client: ToolClient, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer, failed = await client.call(tool, arguments)
    if failed:
        error = answer.get("error", {})
        message = str(error.get("message") or "The server gave no reason.")
        raise StepFailedError(message, error.get("code"))
    return answer
