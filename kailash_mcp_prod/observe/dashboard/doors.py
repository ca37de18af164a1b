"""How often anybody may try to log in, and how many dashboards may be open."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from kailash_mcp_prod.errors import OverloadedError, RateLimitedError
from kailash_mcp_prod.guard.windows import Rule, Windows

TRIES_A_MINUTE: Final = 20
"""Of one address; a proxy in front is one address."""

ALL_TRIES_A_MINUTE: Final = 300
MOST_OPEN: Final = 50
_OPEN_SECONDS: Final = 15.0
_EVERYBODY: Final = ("everybody", "")


class Doors:
    """Counts tries to log in, and who looks at a page.

    Args:
        most_open: How many dashboards may be open.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, most_open: int = MOST_OPEN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_open = most_open
        self._clock = clock
        self._tries = Windows()
        self._open: OrderedDict[str, float] = OrderedDict()

    def try_from(self, address: str) -> None:
        """Counts a try to log in, before anything is looked at.

        Raises:
            RateLimitedError: There were too many.
        """
        rules: list[Rule] = [(address, TRIES_A_MINUTE), (_EVERYBODY, ALL_TRIES_A_MINUTE)]
        now = self._clock()
        refusal = self._tries.refusal(rules, now)
        if refusal is not None:
            wait = max(1, math.ceil(refusal[1]))
            raise RateLimitedError(
                f"Too many tries to log in. Wait {wait} s and try again.", retry_after_seconds=wait
            )
        self._tries.add(rules, now)

    def look(self, viewer: str) -> None:
        """Notes that somebody looks at a page.

        Raises:
            OverloadedError: Too many do.
        """
        now = self._clock()
        while self._open and next(iter(self._open.values())) <= now - _OPEN_SECONDS:
            self._open.popitem(last=False)
        if viewer not in self._open and len(self._open) >= self._most_open:
            raise OverloadedError(
                f"{self._most_open} dashboards are open, which is the limit. Close one; it counts "
                f"for {_OPEN_SECONDS:g} seconds more.",
                retry_after_seconds=_OPEN_SECONDS,
            )
        self._open[viewer] = now
        self._open.move_to_end(viewer)

    def leave(self, viewer: str) -> None:
        """Notes that somebody has logged out."""
        self._open.pop(viewer, None)

    @property
    def open(self) -> int:
        """How many look at a page."""
        return len(self._open)
