"""A small MCP client of our own that does the same over every transport, in both eras.

It speaks over real pipes and sockets, checks every message of both sides against the schema of its
era, and hides only what transports differ in: how messages travel and how a request is cancelled.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests import wire_schema

SECONDS = 5
JsonObject = dict[str, Any]
MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": wire_schema.MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A response; `message` is all of it."""

    message: JsonObject

    @property
    def result(self) -> Any:
        """The result, which there has to be."""
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> Any:
        """The JSON-RPC error, which there has to be."""
        assert "error" in self.message, self.message
        return self.message["error"]


@dataclass(slots=True)
class Pending:
    """A request under way; awaiting it gives its reply."""

    id: str | int
    method: str
    _future: asyncio.Future[JsonObject] = field(repr=False)
    cancelled: bool = False

    async def reply(self) -> Reply:
        """The response, within seconds."""
        async with asyncio.timeout(SECONDS):
            return Reply(await asyncio.shield(self._future))

    @property
    def answered(self) -> bool:
        """Whether there is a response."""
        return self._future.done()

    def answer(self, message: JsonObject) -> None:
        """Take the response; a second one is against the protocol."""
        assert not self._future.done(), f"answered twice: {message}"
        self._future.set_result(message)


class Client(ABC):
    """One client. `era` is a revision; `notifications` holds what the server told.

    `answers` has a function for each method that the server may ask in the old era, from the
    parameters to the result. Errors without an id, of messages that the server could not read,
    are in `faults`. `closed` is set when the server has ended the channel.
    """

    def __init__(self, era: str, capabilities: JsonObject | None = None) -> None:
        self.era = era
        self.capabilities = capabilities or {}
        self.notifications: asyncio.Queue[JsonObject] = asyncio.Queue()
        self.faults: asyncio.Queue[JsonObject] = asyncio.Queue()
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {}
        self.closed = asyncio.Event()
        self.server: JsonObject = {}
        self._pending: dict[str | int, Pending] = {}
        self._next_id = 1
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._left = False

    @property
    def modern(self) -> bool:
        """Whether the client speaks the new era."""
        return self.era == wire_schema.MODERN

    async def open(self) -> None:
        """Connect and introduce both sides: by a handshake, or by asking who is there."""
        await self._connect()
        if self.modern:
            self.server = (await self.request("server/discover")).result
            return
        params = {
            "protocolVersion": self.era,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "tests", "version": "1"},
        }
        self.server = (await self.request("initialize", params)).result
        await self.notify("notifications/initialized")
        await self._initialized()

    async def request(
        self, method: str, params: JsonObject | None = None, *, valid: bool = True
    ) -> Reply:
        """Send a request and wait for its reply.

        Args:
            method: The method.
            params: Its parameters; the metadata of the new era is added.
            valid: Whether the schema has to allow it.
        """
        return await (await self.start(method, params, valid=valid)).reply()

    async def start(
        self, method: str, params: JsonObject | None = None, *, valid: bool = True
    ) -> Pending:
        """Send a request; it is on its way when this returns."""
        message: JsonObject = {"jsonrpc": "2.0", "id": self._next_id, "method": method}
        self._next_id += 1
        if self.modern:
            meta = {
                **MODERN_META,
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
                **(params or {}).get("_meta", {}),
            }
            message["params"] = {**(params or {}), "_meta": meta}
        elif params is not None:
            message["params"] = params
        if valid:
            wire_schema.check_request(self.era, message)
        pending = Pending(message["id"], method, asyncio.get_running_loop().create_future())
        self._pending[pending.id] = pending
        await self._send_request(message, pending)
        return pending

    async def notify(self, method: str, params: JsonObject | None = None) -> None:
        """Send a notification."""
        message: JsonObject = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        wire_schema.check_notification(self.era, message)
        await self._send(message)

    async def cancel(self, pending: Pending) -> None:
        """Tell the server that the answer is not wanted any more."""
        pending.cancelled = True
        await self.notify("notifications/cancelled", {"requestId": pending.id})

    @abstractmethod
    async def send_raw(self, text: bytes) -> JsonObject | None:
        """Send what may be no message; the error without an id that answers it.

        `None` when the server closed the channel instead.
        """

    async def notification(self) -> JsonObject:
        """The next notification, within seconds."""
        async with asyncio.timeout(SECONDS):
            return await self.notifications.get()

    async def close(self) -> None:
        """Disconnect; a failure in the background is raised here. Later calls do nothing."""
        if self._left:
            return
        self._left = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()
        if self._failure is not None:
            raise self._failure

    def background(self, work: Any) -> asyncio.Task[Any]:
        """Run work beside the test."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def take(self, message: JsonObject) -> None:
        """Sort a message of the server to whom it belongs."""
        if "method" in message and "id" in message:
            await self._answer(message)
        elif "method" in message:
            wire_schema.check_notification(self.era, message)
            self.notifications.put_nowait(message)
        elif message.get("id") is None:
            wire_schema.check_response(self.era, message)
            self.faults.put_nowait(message)
        else:
            pending = self._pending.pop(message["id"])
            assert not pending.cancelled or pending.method == "subscriptions/listen", message
            wire_schema.check_response(self.era, message, pending.method)
            pending.answer(message)

    async def _answer(self, message: JsonObject) -> None:
        assert not self.modern, f"the new era has no requests of the server: {message}"
        answer = self.answers.get(message["method"])
        response: JsonObject = {"jsonrpc": "2.0", "id": message["id"]}
        if answer is None:
            response["error"] = {"code": -32601, "message": "Not this client's."}
        else:
            response["result"] = answer(message.get("params", {}))
        await self._send(response)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            for pending in self._pending.values():
                if not pending.answered:
                    pending._future.set_exception(error)

    async def _initialized(self) -> None:  # noqa: B027 - most transports have nothing to do
        """After the handshake: open what carries messages of the server."""

    @abstractmethod
    async def _connect(self) -> None:
        """Open the channel."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close it."""

    @abstractmethod
    async def _send(self, message: JsonObject) -> None:
        """Send a message that is not answered."""

    async def _send_request(self, message: JsonObject, _pending: Pending) -> None:
        """Send a request whose response comes to `take`."""
        await self._send(message)


class ChannelClient(Client):
    """A client on one channel that carries everything both ways."""

    @abstractmethod
    async def _write(self, text: bytes) -> None:
        """Send one text."""

    @abstractmethod
    async def _read(self) -> bytes | None:
        """The next text; `None` at the end."""

    async def send_raw(self, text: bytes) -> JsonObject | None:
        """See `Client.send_raw`."""
        await self._write(text)
        fault = asyncio.create_task(self.faults.get())
        closed = asyncio.create_task(self.closed.wait())
        done, waiting = await asyncio.wait(
            {fault, closed}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        assert done, f"not answered: {text[:200]!r}"
        return fault.result() if fault in done else None

    async def _send(self, message: JsonObject) -> None:
        await self._write(json.dumps(message).encode())

    async def receive_all(self) -> None:
        """Take messages until the end."""
        while (text := await self._read()) is not None:
            await self.take(json.loads(text))
        self.closed.set()
