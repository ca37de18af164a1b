"""`_session_id` among the arguments: in which session of its agent a call is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.guard.breakers import Passage
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

SESSION_ARGUMENT: Final = "_session_id"


class ClaimedSessions(Protocol):
    """Knows the sessions of agents."""

    def counting(self, principal: Principal, session_id: str) -> AbstractAsyncContextManager[None]:
        """Stands around a call and counts it.

        Raises:
            NotFoundError: The principal has no such session.
        """


class _NoSessions:
    def counting(
        self, _principal: Principal, _session_id: str
    ) -> AbstractAsyncContextManager[None]:
        raise NotFoundError(
            f"{SESSION_ARGUMENT}: this server has no sessions. Leave it out.",
            field=SESSION_ARGUMENT,
        )


NO_SESSIONS: Final[ClaimedSessions] = _NoSessions()


def with_session(call: ToolCall) -> ToolCall:
    """The call with its session taken out of the arguments, if one stands there.

    Raises:
        InvalidArgumentsError: It is no text, or not the one that the call has already.
    """
    if SESSION_ARGUMENT not in call.arguments:
        return call
    arguments = dict(call.arguments)
    session_id = arguments.pop(SESSION_ARGUMENT)
    if not isinstance(session_id, str):
        raise InvalidArgumentsError(f"{SESSION_ARGUMENT}: use text.", field=SESSION_ARGUMENT)
    if call.session_id not in {None, session_id}:
        raise InvalidArgumentsError(
            f"{SESSION_ARGUMENT}: the call names two different sessions. Name one.",
            field=SESSION_ARGUMENT,
        )
    return replace(call, arguments=arguments, session_id=session_id)


async def in_session(
    sessions: ClaimedSessions,
    run: Callable[[ToolSpec, ToolCall, Passage], Awaitable[dict[str, Any]]],
    tool: ToolSpec,
    call: ToolCall,
    passage: Passage,
) -> dict[str, Any]:
    """Runs a tool as a call of the session that the call names.

    Raises:
        NotFoundError: Whoever calls has no such session.
        ServerError: As `run` does.
    """
    assert call.session_id is not None  # noqa: S101 - otherwise nobody asks for this
    async with sessions.counting(call.principal, call.session_id):
        return await run(tool, call, passage)
