"""One open WebSocket: its messages, its limits, and the reasons for which it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.asgi import Receive, Send
from kailash_mcp_prod.transports.channel import ChannelLimits, ClientChannel
from kailash_mcp_prod.transports.stopping import CHANNEL_ENDED, SHUT_DOWN
from kailash_mcp_prod.transports.unread_budget import UnreadBudget

_log = logging.getLogger(__name__)

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED_DATA: Final = 1003
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL: Final = 1011

_CLOSE_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one WebSocket may take.

    Args:
        channel: How much runs at once.
        message_bytes: The longest message.
        messages_per_second: How many messages a second are taken, and as many more in a burst.
            Those beyond are answered with an error; as many errors in a row end the channel.
        idle_seconds: After how long without a message and without a running request it ends.
        write_seconds: How long a message waits for a client that does not read.
    """

    channel: ChannelLimits
    message_bytes: int
    messages_per_second: int
    idle_seconds: float
    write_seconds: float


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a WebSocket ends: the close code and reason; `drain_seconds` is left to requests."""

    code: int
    reason: str
    drain_seconds: float = 0.0


class MessageRate:
    """Counts messages against a rate, with a burst of one second's worth.

    Args:
        per_second: The rate.
        clock: Seconds that only grow.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = float(per_second)
        self._counted_at = clock()
        self._refused = 0

    @property
    def exhausted(self) -> bool:
        """Whether as many messages in a row were refused as a second allows."""
        return self._refused >= self._per_second

    def take(self) -> bool:
        """Count a message; false when it is one too many."""
        now = self._clock()
        regained = (now - self._counted_at) * self._per_second
        self._left = min(self._left + regained, float(self._per_second))
        self._counted_at = now
        if self._left < 1:
            self._refused += 1
            return False
        self._left -= 1
        self._refused = 0
        return True


class WebSocketSession:
    """Carries the messages of one accepted WebSocket until either side ends it.

    Args:
        dispatcher: The protocol over the server's tools.
        principal: Who the client is. Its expiry ends the session.
        receive: The ASGI receive function.
        send: The ASGI send function.
        limits: What the client may take.
        surface: The set of tools that the address names.
        unread: Counts the answers that wait to be read, here and elsewhere.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        principal: Principal,
        receive: Receive,
        send: Send,
        limits: SessionLimits,
        *,
        surface: str | None = None,
        unread: UnreadBudget | None = None,
    ) -> None:
        self._principal = principal
        self._receive = receive
        self._send = send
        self._limits = limits
        self._rate = MessageRate(limits.messages_per_second)
        self._channel = ClientChannel(
            dispatcher,
            self._write,
            principal,
            limits.channel,
            surface=surface,
            unread=unread,
            transport="websocket",
        )
        self._ending: Ending | None = None
        self._gone = False
        self._reader: asyncio.Task[None] | None = None
        self._last_active = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def end(self, ending: Ending) -> None:
        """Take no more messages and close the WebSocket; the first reason counts."""
        if self._ending is None:
            self._ending = ending
            if self._reader is not None:
                self._reader.cancel()

    async def run(self) -> None:
        """Serve the client; returns when the WebSocket is closed and nothing of it runs."""
        loop = asyncio.get_running_loop()
        self._last_active = loop.time()
        self._channel.start()
        reader = self._reader = asyncio.create_task(self._read(), name="websocket-reader")
        if self._ending is not None:
            reader.cancel()
        self._watch_expiry(loop)
        self._watch_idleness(loop)
        try:
            await asyncio.wait({reader})
            await self._finish(reader)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            reader.cancel()
            self._channel.abandon()

    async def _finish(self, reader: asyncio.Task[None]) -> None:
        if not reader.cancelled() and (error := reader.exception()) is not None:
            _log.error("Reading a WebSocket failed", exc_info=error)
            self.end(Ending(INTERNAL, "Internal error."))
        ending = self._ending or Ending(NORMAL, "")
        cause = SHUT_DOWN if ending.code == GOING_AWAY else CHANNEL_ENDED
        await self._channel.finish(0.0 if self._gone else ending.drain_seconds, cause)
        if self._gone:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send(
                    {"type": "websocket.close", "code": ending.code, "reason": ending.reason}
                )
        except (OSError, TimeoutError):
            _log.debug("A client was gone before its WebSocket was closed.")

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                return
            self._last_active = asyncio.get_running_loop().time()
            text: Any = message.get("text")
            if text is None:
                self.end(Ending(UNSUPPORTED_DATA, "Messages must be text, not binary."))
                return
            body = text.encode()
            if len(body) > self._limits.message_bytes:
                limit = f"The message is longer than {self._limits.message_bytes} bytes."
                self.end(Ending(TOO_BIG, limit))
                return
            if self._rate.take():
                await self._channel.take(body)
            elif self._rate.exhausted:
                self.end(Ending(POLICY, "Too many messages."))
                return
            else:
                per_second = self._limits.messages_per_second
                refusal = f"More than {per_second} messages in a second. Send fewer."
                error = RateLimitedError(refusal, retry_after_seconds=1)
                await self._channel.refuse(body, error)

    async def _write(self, message: bytes) -> None:
        if self._gone:
            return
        try:
            async with asyncio.timeout(self._limits.write_seconds):
                await self._send({"type": "websocket.send", "text": message.decode()})
        except TimeoutError:
            self._gone = True
            self.end(Ending(POLICY, "The client does not read."))
        except OSError:
            self._gone = True
            self.end(Ending(NORMAL, ""))

    def _watch_expiry(self, loop: asyncio.AbstractEventLoop) -> None:
        expires_at = self._principal.expires_at
        if expires_at is not None:
            ending = Ending(POLICY, "The credential has expired.")
            delay = max(0.0, expires_at - time.time())
            self._timers["expiry"] = loop.call_later(delay, self.end, ending)

    def _watch_idleness(self, loop: asyncio.AbstractEventLoop) -> None:
        limit = self._limits.idle_seconds
        if self._channel.busy:
            self._last_active = loop.time()
        left = self._last_active + limit - loop.time()
        if left <= 0:
            self.end(Ending(NORMAL, f"Idle for {limit:g} seconds."))
        else:
            self._timers["idle"] = loop.call_later(left, self._watch_idleness, loop)
