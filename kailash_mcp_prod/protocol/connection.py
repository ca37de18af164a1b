"""What the server remembers about one channel to a client.

A channel is one stdio process or one legacy HTTP session. Modern requests over HTTP have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kailash_mcp_prod.protocol.faults import INVALID_REQUEST, RpcError
from kailash_mcp_prod.protocol.lifetimes import CancelScope, Lifetime
from kailash_mcp_prod.protocol.messages import RequestId
from kailash_mcp_prod.protocol.outbox import Outbox
from kailash_mcp_prod.protocol.server_requests import ServerRequests


class InFlight:
    """The requests of one channel that still run, by id."""

    def __init__(self) -> None:
        self._scopes: dict[RequestId, CancelScope] = {}
        self._protected: set[RequestId] = set()

    def __len__(self) -> int:
        return len(self._scopes)

    @contextmanager
    def track(self, id: RequestId, *, cancellable: bool = True) -> Iterator[CancelScope]:  # noqa: A002
        """Register the block that answers a request; the scope tells whether it was cancelled.

        Raises:
            RpcError: -32600 when a request with this id still runs.
        """
        if id in self._scopes:
            raise RpcError(INVALID_REQUEST, f"A request with the id {id!r} is still in progress.")
        scope = self._scopes[id] = CancelScope()
        if not cancellable:
            self._protected.add(id)
        try:
            with scope:
                yield scope
        finally:
            del self._scopes[id]
            self._protected.discard(id)

    def cancel(self, id: RequestId) -> bool:  # noqa: A002
        """Cancel a request on the client's wish; false when none such runs or it can't be."""
        scope = self._scopes.get(id)
        if scope is None or id in self._protected:
            return False
        scope.cancel()
        return True

    def cancel_all(self) -> None:
        """Cancel every request, because the channel closes."""
        for scope in self._scopes.values():
            scope.cancel()


class Connection:
    """One channel: its handshake, the requests in flight, and the messages waiting to go out.

    `version` is the negotiated legacy revision, `None` before `initialize`; `capabilities` are the
    client's. `log_level` is the least level of log messages that it wants, and `subscribed` the
    resources whose changes it wants to hear of, each with the function that ends that. Messages
    put into `outbox` are for whoever reads the channel's stream; `lifetime` ends when the channel
    does.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self.capabilities: dict[str, Any] = {}
        self.log_level = "info"
        self.subscribed: dict[str, Callable[[], None]] = {}
        self.initialized = False
        self.in_flight = InFlight()
        self.outbox = Outbox()
        self.requests = ServerRequests(self.outbox)
        self.lifetime = Lifetime()

    def close(self) -> None:
        """End the channel: streams finish, running requests are cancelled without a response."""
        self.lifetime.end()
        for unsubscribe in self.subscribed.values():
            unsubscribe()
        self.subscribed.clear()
        self.in_flight.cancel_all()
        self.requests.close()
        self.outbox.close()
