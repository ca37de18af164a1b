"""The bridge's session of the older era: the client opens it, a forgetful server has it renewed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from kailash_mcp_prod.transports.bridge_http import Answer, Endpoint, UnreachableError
from kailash_mcp_prod.transports.bridge_messages import SESSION_HEADER, Session, as_object

_INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
_END_SECONDS: Final = 1.0


class BridgeSession:
    """The session that the client's requests belong to, if it has opened one.

    Args:
        endpoint: The server.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._handshake: bytes | None = None
        self._renewing = asyncio.Lock()
        self.current: Session | None = None

    def begin(self, handshake: bytes) -> None:
        """Remembers the client's `initialize` request, with which a lost session is renewed."""
        self._handshake = handshake

    def open(self, answer: Answer, reply: dict[str, Any]) -> None:
        """Takes over the session that the answer to a handshake opens."""
        self.current = Session.opened(answer.header(SESSION_HEADER), reply)

    async def renew(self, lost: Session | None) -> bool:
        """Makes a new session, unless another call has just done so; whether there is one now.

        Args:
            lost: The session that the server does not know.

        Raises:
            UnreachableError: The server does not answer.
        """
        async with self._renewing:
            if self.current is not lost:
                return True
            if self._handshake is None:
                return False
            async with self._endpoint.request("POST", {}, self._handshake) as answer:
                reply = as_object(await answer.body())
            if "result" not in reply:
                return False
            session = Session.opened(answer.header(SESSION_HEADER), reply)
            async with self._endpoint.request("POST", session.headers, _INITIALIZED) as answer:
                await answer.body()
            self.current = session
            return True

    async def end(self) -> None:
        """Tells the server that the session is over, if it wants to know and is quick."""
        session = self.current
        if session is None or SESSION_HEADER not in session.headers:
            return
        with suppress(UnreachableError, TimeoutError):
            async with (
                asyncio.timeout(_END_SECONDS),
                self._endpoint.request("DELETE", session.headers) as answer,
            ):
                await answer.body()
