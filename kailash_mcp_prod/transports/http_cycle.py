"""uvicorn's request and response, answered in one write where the answer is whole."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from kailash_mcp_prod.transports.asgi import JSON_ANSWER, LARGE, WHOLE_BODY

if TYPE_CHECKING:
    from kailash_mcp_prod.transports.http_wire import BoundedHttpProtocol

_PLAIN_NAMES: Final = frozenset(
    {
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"mcp-session-id",
        b"retry-after",
        b"vary",
        b"www-authenticate",
        b"x-request-id",
    }
)
"""Header names that are good, and mean nothing to whoever writes them."""

_NO_BODY: Final = frozenset({204, 304})
_TEXT: Final = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))


@lru_cache(maxsize=4)
def _usual_headers(headers: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    """The server's own headers, which change with the second, if all of them are plain."""
    if any(name not in _PLAIN_NAMES for name, _ in headers):
        return None
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class OneWriteCycle(RequestResponseCycle):
    """Holds the head of a response until its first body, and sends both in one write if it can.

    As ASGI asks of servers. Two writes are two packets, and the client wakes twice. Whatever is
    not a plain answer goes uvicorn's own way, a little later.

    Args:
        protocol: The connection.
        scope: The request.
        keep_alive: Whether the connection is for further requests.
    """

    def __init__(self, protocol: BoundedHttpProtocol, scope: Any, *, keep_alive: bool) -> None:
        super().__init__(
            scope=scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )
        self._head: Any = None
        self._begun = False
        scope["extensions"] = {WHOLE_BODY: self.whole_body, JSON_ANSWER: self.json_answer}

    async def run_asgi(self, app: Any) -> None:
        """Run the application."""
        try:
            await super().run_asgi(app)
        finally:
            # Which refers to this cycle, and the scope with it.
            self.scope.pop("extensions", None)

    def whole_body(self) -> bytes | None:
        """The body of the request, if all of it is there and nobody has taken any of it."""
        if self.more_body or self.disconnected or self._begun:
            return None
        self._begun = True
        self.message_event.clear()
        self.flow.resume_reading()
        return bytes(self.body)

    def json_answer(self, status: int, request_id: str, body: bytes) -> bool:
        """Send a short answer with the usual headers at once; whether that could be done.

        As what `send` does with its two messages, for half of what they take.

        Args:
            status: The HTTP status.
            request_id: The server's own id of the request, which is plain text.
            body: JSON.
        """
        if (
            self.response_started
            or self._head is not None
            or self.disconnected
            or self.access_log
            or not self.keep_alive
            or self.flow.write_paused
            or len(body) > LARGE
            or self.scope["method"] == "HEAD"
        ):
            return False
        usual = _usual_headers(tuple(self.default_headers))
        if usual is None:
            return False
        self._written(
            b"%b%bcontent-type: application/json\r\nx-request-id: %b\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (STATUS_LINE[status], usual, request_id.encode(), len(body), body)
        )
        return True

    async def receive(self) -> Any:
        """Wait for more of the request."""
        self._begun = True
        return await super().receive()

    async def send(self, message: Any) -> None:
        """Send a message of the response."""
        head = self._head
        if head is None:
            if self.response_started or message["type"] != "http.response.start":
                await super().send(message)
            else:
                self._head = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        self._head = None
        if self._write_whole(head, message):
            return
        await super().send(head)
        await super().send(message)

    async def send_500_response(self) -> None:
        """Answer in place of an application that has not."""
        self._head = None
        await super().send_500_response()

    def _write_whole(self, head: Any, message: Any) -> bool:
        """Whether the head and this body are a plain answer, which is sent then."""
        if (
            message["type"] != "http.response.body"
            or message.get("more_body", False)
            or self.disconnected
            or self.access_log
            or not self.keep_alive
            or head["status"] in _NO_BODY
            or self.scope["method"] == "HEAD"
        ):
            return False
        body, length = message.get("body", b""), None
        lines = [STATUS_LINE[head["status"]]]
        for headers in (self.default_headers, head["headers"]):
            for name, value in headers:
                if name not in _PLAIN_NAMES:
                    return False
                if name == b"content-length":
                    length = value
                lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        written = b"".join(lines)
        ends = lines.count(b"\r\n") + 1
        if length != b"%d" % len(body) or written.translate(None, _TEXT) != b"\r\n" * ends:
            return False
        self._written(written + body)
        return True

    def _written(self, answer: bytes) -> None:
        self.response_started = self.response_complete = True
        self.transport.write(answer)
        self.message_event.set()
        self.on_response()
