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

    `ended` says that no event will follow, `paused` that those who follow shall go for a while. One
    that `carries_answer` ends with the response to a request; the others carry what the server has
    to say by itself, and never end.

    Args:
        name: Of the stream, unique within its session.
        carries_answer: Whether it is the answer to a request.
    """

    def __init__(self, name: str, *, carries_answer: bool) -> None:
        self.carries_answer = carries_answer
        self.ended = False
        self.paused = False
        self._name = name
        self._events: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._count = 0
        self._follower: object | None = None
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

    def end(self) -> None:
        """No event will follow."""
        self.ended = True
        if self._follower is None:
            self._drop_large()
        self._news.set()

    def pause(self) -> None:
        """Let everybody go who follows, once they have what there is."""
        self.paused = True
        self._news.set()

    def resume(self) -> None:
        """Let those stay who follow from now on."""
        self.paused = False

    async def follow(self, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """The events behind a position, those to come too, until the log ends or pauses.

        Who follows now takes the place of who did before: its client has come back.
        """
        after = min(after, self._count)
        token = self._follower = object()
        self._news.set()
        try:
            while self._follower is token:
                if (found := self._after(after)) is not None:
                    after = found[0]
                    yield found
                    # Who has taken its place may have come because this one did not arrive.
                    if self._follower is token:
                        self._drop_large()
                elif self.ended or self.paused:
                    return
                else:
                    self._news.clear()
                    await self._news.wait()
        finally:
            if self._follower is token:
                self._follower = None

    def _after(self, position: int) -> tuple[int, bytes] | None:
        # All have consecutive positions.
        first = self._events[0][0] if self._events else self._count + 1
        index = max(position + 1 - first, 0)
        return self._events[index] if index < len(self._events) else None


class EventLogs:
    """The logs of one session; the oldest are forgotten first, those that have ended before all.

    Args:
        prefix: What their names begin with.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._logs: OrderedDict[str, EventLog] = OrderedDict()
        self._made = 0

    def __len__(self) -> int:
        return len(self._logs)

    def new(self, *, carries_answer: bool) -> EventLog:
        """A log of a stream that begins."""
        self._made += 1
        name = f"{self._prefix}{self._made}"
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
