"""A circuit breaker: the state machine alone, without a task, a lock or a server."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum


class Outcome(Enum):
    """What a call that was let through says of what it called."""

    WORKED = "worked"
    FAILED = "failed"
    SAID_NOTHING = "said nothing"
    """It was cancelled, or ended before it came so far."""


class State(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Stops calls of something that has failed several times in a row, for a while.

    Closed, it lets all calls through and counts failures; a call that worked resets the count.
    Open, it refuses all until the time is over. Then one call, the probe, goes through and decides:
    it closes the breaker, or opens it for another while. A probe that says nothing gives its place
    to the next call, and so does one that steps back because another process sends its own.

    Each call let through gets a number, and is heard only while that number holds: so calls that
    began before the breaker opened neither close it nor count for what comes after.

    Args:
        threshold: After how many failures in a row it opens.
        recovery_seconds: For how long.
        clock: Seconds that only ever grow.
    """

    __slots__ = (
        "_clock",
        "_failures",
        "_number",
        "_open_until",
        "_recovery",
        "_threshold",
        "state",
    )

    def __init__(self, threshold: int, recovery_seconds: float, clock: Callable[[], float]) -> None:
        self._threshold = threshold
        self._recovery = recovery_seconds
        self._clock = clock
        self._failures = 0
        self._number = 0
        self._open_until = 0.0
        self.state = State.CLOSED

    @property
    def failures(self) -> int:
        """How many calls in a row have failed, while it is closed."""
        return self._failures

    def seconds_left(self) -> float:
        """For how long calls are refused; 0 when one would be let through.

        While a probe runs that is not known; probes are mostly quick.
        """
        if self.state is State.CLOSED:
            return 0
        if self.state is State.HALF_OPEN:
            return min(1, self._recovery)
        return max(0.0, self._open_until - self._clock())

    def admit(self) -> int | None:
        """Lets a call through, under a number for `tell`; `None` refuses it."""
        if self.state is State.CLOSED:
            return self._number
        if self.state is State.HALF_OPEN or self._clock() < self._open_until:
            return None
        self._turn(State.HALF_OPEN)
        return self._number

    def tell(self, number: int, outcome: Outcome) -> None:
        """Says how a call ended; each one that was let through has to, exactly once."""
        if number != self._number or self.state is State.OPEN:
            return
        if self.state is State.HALF_OPEN:
            if outcome is Outcome.WORKED:
                self.close()
            else:
                self.open(self._recovery if outcome is Outcome.FAILED else 0)
        elif outcome is Outcome.WORKED:
            self._failures = 0
        elif outcome is Outcome.FAILED:
            self._failures += 1
            if self._failures >= self._threshold:
                self.open(self._recovery)

    def is_probe(self, number: int) -> bool:
        """Whether the call with that number is the probe that is under way."""
        return number == self._number and self.state is State.HALF_OPEN

    def step_back(self, number: int, seconds: float) -> None:
        """Ends a probe that was not sent after all; the next may try after a time."""
        if self.is_probe(number):
            self.open(seconds)

    def open(self, seconds: float) -> None:
        """Refuses calls for a time; calls that are running are not heard any more."""
        self._open_until = self._clock() + seconds
        self._turn(State.OPEN)

    def close(self) -> None:
        """Lets all calls through."""
        self._turn(State.CLOSED)

    def _turn(self, state: State) -> None:
        self.state = state
        self._failures = 0
        self._number += 1
