"""How long somebody who does not answer is left alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_LONGEST_SECONDS: Final = 30.0


class Backoff:
    """Counts failures in a row; from a number of them on, each doubles a pause.

    When a pause is over one attempt goes ahead, and the others wait for how it ends.

    Args:
        tolerated: How many failures in a row make no pause.
        clock: Seconds that only grow.
    """

    def __init__(self, tolerated: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._tolerated = tolerated
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def wait_seconds(self) -> float:
        """How long no attempt may be made; 0 for none."""
        return max(self._until - self._clock(), 0.0)

    def attempt(self) -> bool:
        """Whether an attempt may be made now; whoever makes it has to say how it ended."""
        if self.wait_seconds() > 0:
            return False
        if self._failures > self._tolerated:
            # Until this one has ended, or for the length of a pause if nobody says how.
            self._until = self._clock() + self._pause()
        return True

    def succeeded(self) -> None:
        """An attempt ended well."""
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        """An attempt failed."""
        self._failures += 1
        if self._failures > self._tolerated:
            self._until = self._clock() + self._pause()

    def _pause(self) -> float:
        # The exponent is bounded too, because failures are not.
        doubled = min(self._failures - self._tolerated - 1, 5)
        return min(2.0**doubled, _LONGEST_SECONDS)
