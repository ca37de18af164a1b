"""The client side of streamable HTTP, as far as the bridge needs it: requests, answers, events."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import httpcore

_CONNECT_SECONDS: Final = 10.0
_CONNECTIONS: Final = 120
# Less than servers wait for the next request, uvicorn five seconds.
_KEPT_SECONDS: Final = 4.0
# The longest single message. The server bounds its requests, and a client's memory is finite too.
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
# However long a server asks to wait before a stream is taken up again.
_LONGEST_RETRY_MILLISECONDS: Final = 60_000


class UnreachableError(Exception):
    """The server did not answer; `sent` says whether it may have got the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event; `id` is where a stream can be taken up again."""

    data: bytes
    id: str | None


class EventParser:
    r"""Cuts a stream of bytes into server-sent events.

    `retry_seconds` is how long to wait before the stream is taken up again, if it has said so.

    Example:
        `list(EventParser().feed(b"data: {}\n\n"))` gives one event.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        self._data: list[bytes] = []
        self._length = 0
        self._id: str | None = None
        self.retry_seconds: float | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that the chunk completes.

        Raises:
            UnreachableError: An event is longer than any message may be.
        """
        *ends, begun = chunk.split(b"\n")
        for end in ends:
            self._begun += end
            line = bytes(self._begun)
            self._begun.clear()
            yield from self._line(line.removesuffix(b"\r"))
        self._begun += begun
        self._check(self._length + len(self._begun))

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(b"\n".join(self._data), self._id)
            elif self._id is not None:
                yield Event(b"", self._id)
            self._data.clear()
            self._length = 0
            self._id = None
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._length += len(value) + 1
            self._check(self._length)
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            # As a header takes it back, byte for byte.
            self._id = value.decode("latin-1")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0") or b"0"
            longest = _LONGEST_RETRY_MILLISECONDS
            # Digits without end are no number that Python would read.
            wanted = int(digits) if len(digits) <= len(str(longest)) else longest
            self.retry_seconds = min(wanted, longest) / 1000

    @staticmethod
    def _check(length: int) -> None:
        if length > MAX_MESSAGE_BYTES:
            raise UnreachableError("it sent a message that is too long", sent=True)


class Answer:
    """An HTTP response: its status and headers at once, its body when asked for."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self.status = response.status
        self._headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }

    @property
    def has_events(self) -> bool:
        """Whether the body is a stream of events."""
        kind = self.header("content-type") or ""
        return kind.partition(";")[0].strip().lower() == "text/event-stream"

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self._headers.get(name)

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            UnreachableError: It broke off, or is too long.
        """
        parts: list[bytes] = []
        length = 0
        with _failures():
            async for chunk in self._response.aiter_stream():
                length += len(chunk)
                if length > MAX_MESSAGE_BYTES:
                    raise UnreachableError("it sent a message that is too long", sent=True)
                parts.append(chunk)
        return b"".join(parts)

    async def events(self, parser: EventParser) -> AsyncIterator[Event]:
        """The events of the body, as they come.

        Raises:
            UnreachableError: It broke off.
        """
        with _failures():
            async for chunk in self._response.aiter_stream():
                for event in parser.feed(chunk):
                    yield event


class Endpoint:
    """The MCP endpoint of a running server.

    Args:
        url: Its address, without credentials.
        credentials: The headers that say who the client is.
    """

    def __init__(self, url: str, credentials: Mapping[str, str]) -> None:
        self.url = url
        self._headers = {"Accept": "application/json, text/event-stream", **credentials}
        # httpcore's own context trusts certifi alone, and not what SSL_CERT_FILE names.
        context = ssl.create_default_context() if url.startswith("https:") else None
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=_CONNECTIONS, keepalive_expiry=_KEPT_SECONDS
        )

    @asynccontextmanager
    async def request(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        patience: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Sends a request; its answer may be read within the block, which closes it.

        Args:
            method: The HTTP method.
            headers: Those beside the credentials.
            body: The body, as JSON.
            patience: How many seconds the server may be silent; by default any.

        Raises:
            UnreachableError: There is no answer.
        """
        sent = {**self._headers, **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        with _failures():
            async with self._pool.stream(
                method,
                self.url,
                headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
                content=body,
                extensions={"timeout": {"connect": _CONNECT_SECONDS, "read": patience}},
            ) as response:
                yield Answer(response)

    async def close(self) -> None:
        """Closes all connections."""
        await self._pool.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    """Turns what goes wrong on the way into `UnreachableError`."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
        raise UnreachableError("no connection is possible", sent=False) from failure
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as failure:
        raise UnreachableError("the connection broke off", sent=True) from failure


def header_value(text: str) -> str:
    """A text as the value of a header: as it is, or in the Base64 form of MCP 2026-07-28."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not text.startswith("=?base64?"):
        return text
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    return f"=?base64?{encoded}?="
