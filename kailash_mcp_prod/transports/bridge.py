"""A bridge: a client's standard streams on one side, a running server over HTTP on the other.

For clients that start a process per call. Nothing is imported and no database is opened here: each
line goes to the server as it is, and what the server sends comes back as lines.

Source: the pages *stdio* and *Streamable HTTP* of MCP 2026-07-28, and *Transports* of 2025-11-25.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from kailash_mcp_prod.protocol.faults import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR
from kailash_mcp_prod.transports.bridge_arguments import ToolHeaders
from kailash_mcp_prod.transports.bridge_http import (
    Answer,
    Endpoint,
    EventParser,
    UnreachableError,
)
from kailash_mcp_prod.transports.bridge_lines import ClientLines
from kailash_mcp_prod.transports.bridge_messages import (
    NOT_JSON,
    SESSION_HEADER,
    Session,
    as_object,
    declared_version,
    is_id,
    modern_headers,
)
from kailash_mcp_prod.transports.bridge_session import BridgeSession
from kailash_mcp_prod.transports.stdio_streams import (
    ByteSource,
    LineSplitter,
    StandardStreams,
    open_sink,
    open_source,
)

_log = logging.getLogger(__name__)

_RESUMPTIONS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0


class _SessionLostError(Exception):
    """The server does not know the session of a message."""


class _HeadersRefusedError(Exception):
    """The server wants other headers with a call."""


class Bridge:
    """Relays between the one client at the standard streams and a server.

    From `start` to `stop` it owns descriptors 0 and 1, as `StdioTransport` does. When the server
    has forgotten a session, as after a restart, a new one is made with the client's own handshake.

    Args:
        endpoint: The server.
        max_line_bytes: The longest message of the client; longer ones are answered with an error.
        max_in_flight: How many requests run at once; then reading pauses.
        drain_seconds: How long requests may go on after the client closed its end.
        descriptors: Read from and write to these instead of 0 and 1, which then stay untouched.

    Example:
        ```python
        async with Bridge(Endpoint("http://127.0.0.1:3001/mcp", {"X-API-Key": key})) as bridge:
            await bridge.wait_closed()
        ```
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_line_bytes: int = 4 * 1024 * 1024,
        max_in_flight: int = 100,
        drain_seconds: float = 5.0,
        descriptors: tuple[int, int] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._max_line_bytes = max_line_bytes
        self._drain_seconds = drain_seconds
        self._descriptors = descriptors
        self._slots = asyncio.Semaphore(max_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[str | int, asyncio.Task[None]] = {}
        self._modern: set[asyncio.Task[None]] = set()
        self._cancelled: set[Any] = set()
        self._session = BridgeSession(endpoint)
        self._tool_headers = ToolHeaders(endpoint)
        self._listener: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._streams: StandardStreams | None = None
        self._reader: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes the streams over and begins to read."""
        descriptors = self._descriptors
        if descriptors is None:
            self._streams = StandardStreams()
            descriptors = (self._streams.input, self._streams.output)
        self._source: ByteSource = await open_source(descriptors[0])
        self._lines = ClientLines(await open_sink(descriptors[1]), self._nobody_reads)
        self._reader = asyncio.create_task(self._read(), name="bridge-reader")
        self._runner = asyncio.create_task(self._run(self._reader), name="bridge")

    async def wait_closed(self) -> None:
        """Waits until the client closed its end and its requests are done, or until `stop`."""
        await self._closed.wait()

    async def stop(self) -> None:
        """Stops reading, cancels what still runs after a second, ends the session, releases."""
        runner, self._runner = self._runner, None
        if runner is None or self._reader is None:
            return
        self._reader.cancel()
        await asyncio.wait({runner}, timeout=_STOP_SECONDS)
        self._cancel_tasks()
        await runner
        await self._session.end()
        await self._endpoint.close()
        await self._lines.close()
        await self._source.close()
        if self._streams is not None:
            self._streams.release()

    async def __aenter__(self) -> Bridge:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _run(self, reader: asyncio.Task[None]) -> None:
        await asyncio.wait({reader})
        if not reader.cancelled() and (error := reader.exception()) is not None:
            _log.error("Reading standard input failed", exc_info=error)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._drain_seconds)
        self._cancel_tasks()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
        self._closed.set()

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _read(self) -> None:
        splitter = LineSplitter(self._max_line_bytes)
        while chunk := await self._source.read():
            for line in splitter.feed(chunk):
                await self._accept(line)
        for line in splitter.finish():
            await self._accept(line)

    async def _accept(self, line: bytes | None) -> None:
        if line is None:
            text = f"The line is longer than {self._max_line_bytes} bytes and was skipped."
            await self._lines.fail(None, INVALID_REQUEST, text)
            return
        if not (line := line.strip()):
            return
        try:
            message = msgspec.json.decode(line)
        except NOT_JSON:
            await self._lines.fail(None, PARSE_ERROR, "The line is not valid JSON.")
            return
        fields = message if isinstance(message, dict) else {}
        method, message_id = fields.get("method"), fields.get("id")
        if method == "initialize" and is_id(message_id):
            # What follows belongs to the session that this opens.
            self._session.begin(line)
            await self._relay(line, fields, message_id)
        elif isinstance(message, list):
            await self._begin(line, fields, None)
        elif is_id(message_id) and isinstance(method, str):
            await self._begin(line, fields, message_id)
        elif method == "notifications/cancelled" and self._cancel(fields):
            return
        else:
            # Notifications and answers of the client keep their order.
            await self._relay(line, fields, None)
            if method == "notifications/initialized" and self._session.current is not None:
                self._listener = self._listener or asyncio.create_task(self._listen())

    async def _begin(
        self, line: bytes, fields: dict[str, Any], message_id: str | int | None
    ) -> None:
        await self._slots.acquire()
        task = asyncio.create_task(self._relay(line, fields, message_id))
        self._tasks.add(task)
        if message_id is not None:
            self._in_flight[message_id] = task
            if declared_version(fields) is not None:
                self._modern.add(task)

        def finished(done: asyncio.Task[None]) -> None:
            self._slots.release()
            self._tasks.discard(done)
            self._modern.discard(done)
            if message_id is not None and self._in_flight.get(message_id) is done:
                del self._in_flight[message_id]
                self._cancelled.discard(message_id)
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.error("Relaying a message failed", exc_info=error)

        task.add_done_callback(finished)

    def _cancel(self, fields: dict[str, Any]) -> bool:
        """Closes a modern request's stream, which is how it is cancelled over HTTP."""
        params = fields.get("params")
        cancelled = params.get("requestId") if isinstance(params, dict) else None
        task = self._in_flight.get(cancelled) if is_id(cancelled) else None
        if task is None:
            return False
        if task in self._modern:
            task.cancel()
            return True
        # The server ends that request without an answer.
        self._cancelled.add(cancelled)
        return False

    async def _relay(self, line: bytes, fields: dict[str, Any], expected: str | int | None) -> None:
        """Sends a message and writes what comes back; a request is always answered."""
        try:
            text = await self._exchange(line, fields, expected)
        except UnreachableError as failure:
            text = f"The server at {self._endpoint.url} can't be reached: {failure}."
            if failure.sent:
                text += " Whether it did what was asked is not known."
            text += " Start it, or correct the address of --connect; then try again."
        if text is None:
            return
        if expected is None:
            _log.warning("%s", text)
        elif expected not in self._cancelled:
            await self._lines.fail(expected, INTERNAL_ERROR, text)

    async def _exchange(
        self, line: bytes, fields: dict[str, Any], expected: str | int | None
    ) -> str | None:
        """Sends a message and writes what comes back; returns what is wrong if that is no answer.

        What finds its session forgotten goes once more, into a new one; so does a call for which
        the server wants other headers, after a look at its tools.

        Raises:
            UnreachableError: The server does not answer.
        """
        session, mirrored = self._session.current, self._tool_headers.of(fields)
        try:
            return await self._post(line, fields, expected, session)
        except _HeadersRefusedError:
            await self._tool_headers.ask(fields, mirrored)
            return await self._post(line, fields, expected, session, last=True)
        except _SessionLostError:
            renewed = await self._session.renew(session)
        with suppress(_SessionLostError):
            if renewed:
                return await self._post(line, fields, expected, self._session.current)
        return "The server has forgotten the session. Initialize a new one."

    async def _post(
        self,
        line: bytes,
        fields: dict[str, Any],
        expected: str | int | None,
        session: Session | None,
        *,
        last: bool = False,
    ) -> str | None:
        if fields.get("method") == "initialize":
            headers: Mapping[str, str] = {}
        else:
            headers = modern_headers(fields) or (session.headers if session else {})
            headers = {**headers, **self._tool_headers.of(fields)}
        # What is not answered holds up what follows, so not for ever.
        patience = _PATIENCE_SECONDS if expected is None else None
        async with self._endpoint.request("POST", headers, line, patience=patience) as answer:
            if answer.status == 404 and SESSION_HEADER in headers:
                await answer.body()
                raise _SessionLostError
            return await self._take(answer, fields, expected, last=last)

    async def _take(
        self, answer: Answer, fields: dict[str, Any], expected: str | int | None, *, last: bool
    ) -> str | None:
        if answer.has_events:
            if await self._take_events(answer, expected):
                return None
            return "The server ended its answer before it was complete."
        body = await answer.body()
        reply = as_object(body)
        if not last and self._tool_headers.are_refused(fields, reply):
            raise _HeadersRefusedError
        body = self._tool_headers.take(body)
        if fields.get("method") == "initialize" and "result" in reply:
            self._session.open(answer, reply)
        batch = expected is None and body.lstrip().startswith(b"[")
        if "result" in reply or "error" in reply or batch:
            if expected is not None and reply.get("id") is None:
                body = msgspec.json.encode({**reply, "id": expected})
            elif expected is not None and reply["id"] != expected:
                return "The server answered a request that this was not."
            elif expected is None and reply.get("id") is None and "error" in reply:
                return f"The server refused a message: {reply['error']}"
            await self._lines.write(body)
            return None
        if answer.status in {401, 403}:
            return f"The server refuses access ({answer.status}). Set MCP_API_KEY or MCP_TOKEN."
        if expected is None and answer.status < 300:
            return None
        return f"The server at {self._endpoint.url} answered with HTTP status {answer.status}."

    async def _take_events(self, answer: Answer, expected: str | int | None) -> bool:
        """Writes the events of a stream; whether the expected answer was among them.

        A stream that breaks off is taken up again where the server numbers its events.
        """
        parser = EventParser()
        last: str | None = None
        try:
            async for event in answer.events(parser):
                last = event.id or last
                if await self._pass_on(event.data, expected):
                    return True
        except UnreachableError:
            if last is None:
                raise
        for _ in range(_RESUMPTIONS):
            session = self._session.current
            if last is None or session is None or expected is None:
                break
            await asyncio.sleep(parser.retry_seconds or _FIRST_PAUSE_SECONDS)
            headers = {**session.headers, "Last-Event-ID": last}
            with suppress(UnreachableError):
                async with self._endpoint.request("GET", headers) as resumed:
                    if not resumed.has_events:
                        break
                    async for event in resumed.events(parser):
                        last = event.id or last
                        if await self._pass_on(event.data, expected):
                            return True
        return expected is None

    async def _pass_on(self, data: bytes, expected: str | int | None) -> bool:
        if not data.strip():
            return False
        await self._lines.write(self._tool_headers.take(data))
        reply = as_object(data) if expected is not None else {}
        return "method" not in reply and reply.get("id") == expected and expected is not None

    async def _listen(self) -> None:
        """Writes what the server sends by itself, for as long as it offers such a stream."""
        pause = _FIRST_PAUSE_SECONDS
        last: str | None = None
        while (session := self._session.current) is not None:
            parser = EventParser()
            headers = {**session.headers, **({"Last-Event-ID": last} if last else {})}
            with suppress(UnreachableError):
                async with self._endpoint.request("GET", headers) as answer:
                    if answer.has_events:
                        pause = _FIRST_PAUSE_SECONDS
                        async for event in answer.events(parser):
                            last = event.id or last
                            await self._pass_on(event.data, None)
                    elif answer.status != 404:
                        return
                if answer.status == 404:
                    last = None
                    await self._session.renew(session)
            await asyncio.sleep(max(parser.retry_seconds or 0, pause))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _nobody_reads(self) -> None:
        # Take no more questions.
        if self._reader is not None:
            self._reader.cancel()
