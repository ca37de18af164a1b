"""How many calls run at once, how many may wait for their turn, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from typing import Any

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.guard.deadline import Deadline

Turn = asyncio.Future[bool]
"""Becomes true when the place is given, and false when the call is refused after all."""


class ConcurrencyLimit:
    """Lets a number of calls run and a number of them wait; the rest are refused at once.

    Principals that wait take turns, and the calls of each come in their order. When the queue is
    full, one who has fewer calls in it than somebody else takes the place of that one's last call:
    so nobody, however many calls it makes, keeps others out.

    Args:
        running: How many calls run at the same time.
        wait_seconds: How long a call may wait.
        waiting: How many may wait; by default as many as may run.
        share: How many of one principal may run at the same time; by default all.

    Example:
        ```python
        async with limit.slot("alice"):
            await work()
        ```
    """

    def __init__(
        self,
        running: int,
        *,
        wait_seconds: float = 30,
        waiting: int | None = None,
        share: int | None = None,
    ) -> None:
        self._most = running
        self._most_waiting = running if waiting is None else waiting
        self._share = running if share is None else share
        self._owned: Counter[str] = Counter()
        self._waits = Delays(wait_seconds)
        self._running = 0
        self._waiting = 0
        self._queues: OrderedDict[str, deque[Turn]] = OrderedDict()
        self._idle: asyncio.Event | None = None

    def slot(self, subject: str) -> Slot:
        """A place to run in, entered for a block; one may have to be waited for.

        Args:
            subject: Whose call it is.

        Raises:
            OverloadedError: On entering, when the call was not started.
        """
        return Slot(self, subject)

    async def enter(self, subject: str) -> None:
        """Takes a place; `leave` gives it back.

        Raises:
            OverloadedError: Too many calls wait, or this one has waited too long.
        """
        if self._running < self._most and self._may_run(subject):
            self._running += 1
            self._owned[subject] += 1
            return
        if self._waiting >= self._most_waiting:
            self._make_room_for(subject)
        turn: Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(subject, deque()).append(turn)
        self._waiting += 1
        try:
            with Deadline(self._waits):
                given = await turn
        except BaseException as ending:
            self._give_up(subject, turn)
            if isinstance(ending, TimeoutError):
                raise _overloaded() from None
            raise
        if not given:
            raise _overloaded()

    def leave(self, subject: str) -> None:
        """Gives a place to who waits next, or back.

        Args:
            subject: Whose the place was.
        """
        self._owned[subject] -= 1
        if not self._owned[subject]:
            del self._owned[subject]
        while (
            self._queues
            and (following := next(filter(self._may_run, self._queues), None)) is not None
        ):
            queue = self._queues.pop(following)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                # Behind the others, who are served before its next call.
                self._queues[following] = queue
            if not turn.done():
                self._owned[following] += 1
                turn.set_result(True)
                return
        self._running -= 1
        if self._running == 0 and self._idle is not None:
            self._idle.set()

    @property
    def running(self) -> int:
        """How many calls run."""
        return self._running

    @property
    def most(self) -> int:
        """How many may run."""
        return self._most

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._waiting

    def health(self) -> dict[str, Any]:
        """Its component in the report on health."""
        return {"status": "healthy", "running": self._running, "waiting": self._waiting}

    async def idle_within(self, seconds: float) -> bool:
        """Waits until no call runs or waits; whether that came in time."""
        if self._running == 0:
            return True
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._idle = None
        return True

    def _may_run(self, subject: str) -> bool:
        return self._owned[subject] < self._share if subject in self._owned else True

    def _make_room_for(self, subject: str) -> None:
        longest = max(self._queues, key=lambda each: len(self._queues[each]))
        own = len(self._queues.get(subject, ()))
        if len(self._queues[longest]) <= own + 1:
            raise _overloaded()
        turn = self._queues[longest].pop()
        self._waiting -= 1
        if not turn.done():
            turn.set_result(False)

    def _give_up(self, subject: str, turn: Turn) -> None:
        if turn.done() and not turn.cancelled():
            if turn.result():
                # The place was handed over already.
                self.leave(subject)
            return
        queue = self._queues.get(subject)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del self._queues[subject]


class Slot:
    """A place in a `ConcurrencyLimit` for the time of a block."""

    __slots__ = ("_limit", "_subject")

    def __init__(self, limit: ConcurrencyLimit, subject: str) -> None:
        self._limit = limit
        self._subject = subject

    async def __aenter__(self) -> None:
        await self._limit.enter(self._subject)

    async def __aexit__(self, *_failure: object) -> None:
        self._limit.leave(self._subject)


def _overloaded() -> OverloadedError:
    return OverloadedError(
        "The server is busy and did not start this call. Try again.", retry_after_seconds=1
    )
