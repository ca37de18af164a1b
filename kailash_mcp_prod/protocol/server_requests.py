"""Requests of the server to a client of the old era, and the answers to them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol.codec import encode_notification, encode_request
from kailash_mcp_prod.protocol.messages import ClientResponse, RequestId
from kailash_mcp_prod.protocol.outbox import Outbox

_MAX_OPEN: Final = 64


class ServerRequests:
    """The requests on one channel that its client has still to answer.

    Args:
        outbox: Carries the news that a request is not wanted any more.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._open: dict[RequestId, asyncio.Future[bytes | None]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._open)

    async def send(
        self,
        emit: Callable[[bytes], Awaitable[None]],
        method: str,
        params: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Ask the client and wait for its result; `None` for an error, or what can't be read.

        Raises:
            OverloadedError: Too many requests wait for an answer already.
        """
        if len(self._open) >= _MAX_OPEN:
            raise OverloadedError("The client has too many open questions; answer some first.")
        # Ids of the server's own never look like those that clients make.
        id_ = f"server-{next(self._numbers)}"
        answer = asyncio.get_running_loop().create_future()
        self._open[id_] = answer
        try:
            await emit(encode_request(id_, method, dict(params)))
            encoded = await answer
        except asyncio.CancelledError:
            self._outbox.put(encode_notification("notifications/cancelled", {"requestId": id_}))
            raise
        finally:
            del self._open[id_]
        return None if encoded is None else _decoded(encoded)

    def resolve(self, response: ClientResponse) -> None:
        """Take a client's answer; one that nobody waits for is ignored."""
        waiting = None if response.id is None else self._open.get(response.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(response.result)

    def close(self) -> None:
        """No answer will come any more."""
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_result(None)


def _decoded(encoded: bytes) -> dict[str, Any] | None:
    try:
        result = msgspec.json.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It was only looked over so far, not read.
        return None
    return result if isinstance(result, dict) else None
