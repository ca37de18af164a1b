"""Who makes the calls of a workflow's nodes: bound to the context in which the workflow runs.

So nothing of a caller stands in a workflow's parameters, which a runtime may log, store or show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from kailash_mcp_prod.auth.principal import LOCAL, Principal
from kailash_mcp_prod.errors import StartupError

NodeCall = Callable[[str, str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Calls a tool for a node: the node's id, the tool's name, its arguments."""

_calls: ContextVar[NodeCall | None] = ContextVar("calls_of_workflow_nodes", default=None)


class _Caller(Protocol):
    async def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, principal: Principal = LOCAL
    ) -> dict[str, Any]:
        """See `ToolCaller.call_tool`."""


class _Server(Protocol):
    @property
    def mcp_server(self) -> _Caller:
        """Calls its tools."""


@contextmanager
def calls_by(call: NodeCall) -> Iterator[None]:
    """Lets the nodes of workflows that run in the block call tools by a function."""
    before = _calls.set(call)
    try:
        yield
    finally:
        _calls.reset(before)


@contextmanager
def calling_tools_of(server: _Server, *, principal: Principal = LOCAL) -> Iterator[None]:
    """Lets the nodes of workflows that run in the block call the tools of a running server.

    Args:
        server: The server; its event loop must not be the one on which the block waits for a
            `LocalRuntime`, which blocks it. `start_mcp_server_async` gives it one of its own.
        principal: Who calls.

    Example:
        ```python
        with calling_tools_of(server), LocalRuntime(enable_monitoring=False) as runtime:
            results, _ = runtime.execute(workflow, parameters={"inputs": {"name": "Acme"}})
        ```
    """

    async def call(_node: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await server.mcp_server.call_tool(tool, arguments, principal=principal)

    with calls_by(call):
        yield


def current_calls() -> NodeCall:
    """What the block around a running workflow has bound.

    Raises:
        StartupError: There is no such block.
    """
    call = _calls.get()
    if call is None:
        raise StartupError(
            "An MCPToolNode runs where no server is bound. Run the workflow within "
            "`with calling_tools_of(server):`, or register it with the server."
        )
    return call
