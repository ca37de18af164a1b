"""What was sent on the event streams of a session, so that a client can come back for the rest.

Source: the section *Resumability and Redelivery* of the page *Transports* of MCP 2025-11-25.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Final

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 1024 * 1024
MAX_LOGS: Final = 16


class EventLog:
    """The events of one stream, in order; the oldest are forgotten first.

    `ended` says that no event will follow. One that `carries_answer` ends with the response to a
    request; the others carry what the server has to say by itself, and never end.

    Args:
        name: Of the stream, unique within its session.
        carries_answer: Whether it is the answer to a request.
    """

    def __init__(self, name: str, *, carries_answer: bool) -> None:
        self.carries_answer = carries_answer
        self.ended = False
        self._name = name
        self._events: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._count = 0
        self._paused = False
        self._news = asyncio.Event()

    def event_id(self, position: int) -> str:
        """The SSE id of an event; that of position 0 comes before all others."""
        return f"{self._name}-{position}"

    def append(self, message: bytes) -> int:
        """Add an event and return its position.

        One that is larger than all may be together is for those who follow now, and kept for
        nobody else.
        """
        self._count += 1
        self._events.append((self._count, message))
        self._size += len(message)
        while len(self._events) > MAX_EVENTS or (self._size > MAX_BYTES and len(self._events) > 1):
            self._size -= len(self._events.popleft()[1])
        self._news.set()
        return self._count

    def _drop_large(self) -> None:
        if self._size > MAX_BYTES:
            self._events.clear()
            self._size = 0

    def end(self, *, abandoned: bool = False) -> None:
        """No event will follow.

        Args:
            abandoned: Whether nobody follows any more.
        """
        self.ended = True
        if abandoned:
            self._drop_large()
        self._news.set()

    def pause(self) -> None:
        """Let everybody go who follows, once they have what there is."""
        self._paused = True
        self._news.set()

    def resume(self) -> None:
        """Let those stay who follow from now on."""
        self._paused = False

    async def follow(self, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """The events behind a position, those to come too, until the log ends or pauses."""
        after = min(after, self._count)
        while True:
            for position, message in tuple(self._events):
                if position > after:
                    after = position
                    yield position, message
                    self._drop_large()
            if self._events and self._events[-1][0] > after:
                continue
            if self.ended or self._paused:
                return
            self._news.clear()
            await self._news.wait()


class EventLogs:
    """The logs of one session; the oldest are forgotten first, those that have ended before all."""

    def __init__(self) -> None:
        self._logs: OrderedDict[str, EventLog] = OrderedDict()
        self._made = 0

    def __len__(self) -> int:
        return len(self._logs)

    def new(self, *, carries_answer: bool) -> EventLog:
        """A log of a stream that begins."""
        self._made += 1
        name = str(self._made)
        log = self._logs[name] = EventLog(name, carries_answer=carries_answer)
        if len(self._logs) > MAX_LOGS:
            ended = (each for each, log in self._logs.items() if log.ended)
            del self._logs[next(ended, next(iter(self._logs)))]
        return log

    def find(self, event_id: str) -> tuple[EventLog, int] | None:
        """The log that an SSE id belongs to, and the position there; `None` for a strange one."""
        name, _, position = event_id.rpartition("-")
        log = self._logs.get(name)
        if log is None or not (position.isascii() and position.isdecimal()) or len(position) > 9:
            return None
        return log, int(position)
