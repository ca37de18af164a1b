"""uvicorn's HTTP protocol, made safe against clients that never finish, or do not read."""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from typing import ClassVar, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kailash_mcp_prod.delays import Delays, Waiting
from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
from kailash_mcp_prod.transports.http_cycle import OneWriteCycle

KEEP_ALIVE_SECONDS: Final = 75.0
PARTING_SECONDS: Final = 5.0
"""After how long without a request a connection is closed."""

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 100
_CACHED_TARGET: Final = 64
_TOO_LARGE: Final = (
    f"The head of a request may have {_MAX_HEAD_BYTES} bytes and {_MAX_HEADERS} headers."
)
_REFUSED: Final = (
    "HTTP/1.1 431 Request Header Fields Too Large\r\n"
    "content-type: text/plain; charset=utf-8\r\n"
    f"content-length: {len(_TOO_LARGE)}\r\n"
    "connection: close\r\n"
    "\r\n"
    f"{_TOO_LARGE}"
).encode()


_OF_UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})
_BUSY_TEXT: Final = "Too many connections are open. Try again later."
_BUSY: Final = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    "content-type: text/plain; charset=utf-8\r\n"
    f"content-length: {len(_BUSY_TEXT)}\r\n"
    "retry-after: 5\r\n"
    "connection: close\r\n"
    "\r\n"
    f"{_BUSY_TEXT}"
).encode()


def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """The path, decoded and as it came, and the query of a request's target."""
    parsed = httptools.parse_url(url)
    path: str = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


_known_target = lru_cache(maxsize=128)(_target)


class _TooManyHeadersError(Exception):
    """Ends the parser's work."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Adds the bounds that uvicorn leaves open.

    A head has at most 64 KiB, and so have the trailers of a body and whatever else is neither
    head nor body. It is counted in pieces of what arrives: behind the end of another request in
    the same piece it may be twice as long. While no request is being answered, the client has
    `head_seconds` from its first byte, or from the opening of the connection, to the end of a
    head. A client that takes less than `least_progress` bytes of what waits for it in
    `write_seconds` is dropped. Trailers are left out, and a request whose client has gone is
    told so, even if another one came behind it. A connection beyond `limit` is answered with 503
    before anything of it is read. One that was `quiet` for that time after an answer is closed.
    While the server is `leaving`, each answer says that the connection ends with it, and who is
    quiet is closed after `parting` instead.
    """

    limit: ClassVar[ConnectionLimit | None] = None
    quiet: ClassVar[Delays] = Delays(KEEP_ALIVE_SECONDS)
    parting: ClassVar[Delays] = Delays(PARTING_SECONDS)
    leaving: ClassVar[bool] = False

    head_seconds: ClassVar[float] = 10.0
    write_seconds: ClassVar[float] = 20.0
    least_progress: ClassVar[int] = 64 * 1024

    _quiet: Waiting | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _unsent = 0
    _counted = 0
    _got_on = False
    _too_many = False
    _upgraded = False
    _unwanted = False
    _declined: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head, unless there are too many connections."""
        if self.limit is not None and self.limit.is_full(self.connections):
            self._unwanted = True
            transport.write(_BUSY)
            transport.close()
            return
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request; uvicorn tells only the one that came last."""
        if self._unwanted:
            return
        self._stop_timers()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrives, in pieces that cannot exceed the limit unnoticed."""
        if self._unwanted:
            return
        room = _MAX_HEAD_BYTES - self._counted
        while len(data) > room:
            if not self._parse(data[:room]):
                return
            data = data[room:]
            room = _MAX_HEAD_BYTES - self._counted
        if self._parse(data) and self._head_timer is None and self.is_idle():
            self._await_head()

    def _parse(self, data: bytes) -> bool:
        """Whether to go on."""
        self._got_on = False
        super().data_received(data)
        while self._declined is not None:
            data = self._without_upgrade(data[self._declined :])
            self._declined = None
            super().data_received(data)
        if self._got_on:
            self._counted = 0
        else:
            self._counted += len(data)
            if self._counted >= _MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse()
        return not (self._upgraded or self.transport.is_closing())

    def on_headers_complete(self) -> None:
        """Begin the request, unless it has too many headers, or wants another protocol."""
        if self.parser.should_upgrade() and not self._should_upgrade():
            self._declined = 0
            return
        if len(self.headers) > _MAX_HEADERS:
            self._too_many = True
            raise _TooManyHeadersError
        self._got_on = True
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._begin_request()
        if not self.pipeline:
            self._running = self.cycle
        # Trailers are added to these; the request that runs already must not see them.
        self.headers = self.headers.copy()

    def _begin_request(self) -> None:
        """As uvicorn, whose own cycle it would make."""
        version, method = self.parser.get_http_version(), self.parser.get_method()
        scope = self.scope
        scope["method"] = method.decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        scope["path"], scope["raw_path"], scope["query_string"] = (
            _known_target(self.url) if len(self.url) <= _CACHED_TARGET else _target(self.url)
        )
        before = self.cycle
        keep_alive = version != "1.0" and self.parser.should_keep_alive() and not self.leaving
        self.cycle = OneWriteCycle(self, scope, keep_alive=keep_alive)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        """End the request, but for one that comes again without its upgrade."""
        if self._declined is None:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        # Called where the parser has stopped: its exception says how far it came.
        stopped = sys.exc_info()[1]
        assert stopped is not None  # noqa: S101 - that is where uvicorn calls
        self._declined = stopped.args[0]

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() and self.parser.get_method() == b"GET"

    def _without_upgrade(self, rest: bytes) -> bytes:
        """A request without its wish for another protocol, which may be ignored, and what follows.

        The parser leaves out the body of such a request, and would take it for the next one.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                kept = b", ".join(each for each in tokens if each.lower() not in _OF_UPGRADE)
            if name not in _OF_UPGRADE:
                lines.append(name + b": " + kept)
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", rest])

    def on_body(self, body: bytes) -> None:
        """Add to the body."""
        self._got_on = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or has too many headers."""
        if self._too_many:
            self._refuse()
        else:
            super().send_400_response(msg)
            self._watch_closing()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol, unless a request still needs it."""
        self._upgraded = True
        self._stop_timers()
        if self.is_idle():
            super().handle_websocket_upgrade()
        else:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        if self.pipeline:
            self._running = self.pipeline[-1][0]
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self._quiet = self.quiet.on(self.loop)
                self._quiet.add(self)
        if self.transport.is_closing():
            self._watch_closing()

    def _unset_keepalive_if_required(self) -> None:
        if self._quiet is not None:
            self._quiet.discard(self)

    def late(self) -> None:
        """Close a connection that has been without requests for a while."""
        if not self.transport.is_closing():
            self.transport.close()
        self._watch_closing()

    def pause_writing(self) -> None:
        """Begin to watch whether the client reads."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """End that, unless the connection is only open for the rest."""
        super().resume_writing()
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None

    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        # Requests are answered in their order.
        return self.cycle is None or self.cycle.response_complete

    def let_go(self) -> None:
        """Let the answer that is under way, or the next, say that the connection ends with it."""
        if self._running is not None and not self._running.response_complete:
            self._running.keep_alive = False
        elif self._quiet is not None:
            self._quiet.discard(self)
            self._quiet = self.parting.on(self.loop)
            self._quiet.add(self)

    def _refuse(self) -> None:
        # In the middle of another answer it would be taken for a part of that.
        if self.is_idle():
            self.transport.write(_REFUSED)
        self.transport.close()
        self._watch_closing()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_overdue)

    def _head_overdue(self) -> None:
        self.transport.close()
        self._watch_closing()

    def _watch_closing(self) -> None:
        """A closing connection stays until the client has taken all, which may be never."""
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def _watch_writing(self) -> None:
        if self._write_timer is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(self.write_seconds, self._check_writing)

    def _check_writing(self) -> None:
        self._write_timer = None
        if self._unsent - self.transport.get_write_buffer_size() >= self.least_progress:
            self._watch_writing()
        else:
            self.transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
        self._unset_keepalive_if_required()
