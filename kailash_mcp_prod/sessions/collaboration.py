"""`Collaboration`: workspaces in which agents work together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.sessions.collaboration_news import URI_PREFIX, Listener, WorkspaceNews
from kailash_mcp_prod.sessions.collaboration_tools import LIST, collaboration_tools
from kailash_mcp_prod.sessions.handing_over import HandOver
from kailash_mcp_prod.sessions.opening import Opened
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.collaboration_store import WorkspaceStore

_STORE: Final = "kailash_mcp_prod.sessions.collaboration_store"

Readable = Callable[[ToolCall, str, str | int], Awaitable[None]]
"""Sees that whoever makes a call may read a record, by its model and id.

Raises:
    NotFoundError: There is no such record that it may read.
"""

ReadableAmong = Callable[[ToolCall, str, Collection[str | int]], Awaitable[Collection[str | int]]]
"""Those of some records of a model that exist for whoever makes a call."""


class Collaboration:
    """The workspaces of a server; a `Part`, and the resources by which members watch them.

    Args:
        state: Where they are.
        readable: Sees which records an agent may take a lease on.
        readable_among: Which of some records of a model exist for an agent.
        hand_over: Makes a workflow session another agent's.
        redis: How replicas tell each other of changes; `None` where there is no Redis.
        may_create: Whether the tables may be made.
    """

    template: Final = {
        "uriTemplate": f"{URI_PREFIX}{{workspace_id}}",
        "name": "workspace",
        "title": "A workspace",
        "description": "Who takes part, who works on what and what has changed; you may watch it.",
        "mimeType": "application/json",
        "annotations": {"audience": ["assistant"], "priority": 0.6},
    }
    """The MCP `ResourceTemplate` of a workspace."""

    tool: Final = LIST
    """The tool that reads one."""

    def __init__(
        self,
        state: State,
        *,
        readable: Readable,
        readable_among: ReadableAmong,
        hand_over: HandOver,
        redis: RedisConnection | None,
        may_create: bool,
    ) -> None:
        self.readable = readable
        self.readable_among = readable_among
        self.hand_over = hand_over
        self._opened: Opened[WorkspaceStore] = Opened(
            state,
            _STORE,
            lambda module, database: module.WorkspaceStore(database, self._news.changed),
            may_create=may_create,
        )
        self._news = WorkspaceNews(self._opened.get, redis)

    def tools(self) -> Iterable[ToolSpec]:
        """The tools over the workspaces."""
        return collaboration_tools(self)

    async def start(self) -> None:
        """Nothing runs until somebody changes a workspace, or watches one."""

    async def stop(self) -> None:
        """Ends what runs."""
        await self._news.stop()
        self._opened.close()

    async def store(self) -> WorkspaceStore:
        """The workspaces in the state.

        Raises:
            UnavailableError: The database does not answer, or is not prepared.
        """
        return await self._opened.get()

    @staticmethod
    def arguments_of(uri: str) -> dict[str, Any] | None:
        """What the tool that reads a workspace takes for its URI; `None` for other URIs."""
        if not uri.startswith(URI_PREFIX):
            return None
        return {"workspace_id": uri.removeprefix(URI_PREFIX)}

    def on_updated(self, listener: Listener) -> Callable[[], None]:
        """Calls the listener with URIs of workspaces that changed, and who may hear of it.

        What it returns ends that.
        """
        return self._news.subscribe(listener)
