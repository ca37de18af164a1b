"""Who is told of every request: how long it took, and what its answer was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from kailash_mcp_prod.protocol.messages import Reply, Request
from kailash_mcp_prod.protocol.methods import Context


class RequestObserver(Protocol):
    """Is told of every request that the dispatcher has taken; must be quick and raise nothing."""

    def answered(
        self, request: Request, context: Context, seconds: float, reply: Reply | None
    ) -> None:
        """A request is over.

        Args:
            request: The request.
            context: Where it came from.
            seconds: How long it took.
            reply: The encoded answer; `None` when it was cancelled.
        """
        ...


class RequestTracer(Protocol):
    """Stands around the answering of every request."""

    async def around(
        self,
        request: Request,
        context: Context,
        answer: Callable[[Request, Context], Awaitable[Reply | None]],
    ) -> Reply | None:
        """What `answer` gives."""
        ...
