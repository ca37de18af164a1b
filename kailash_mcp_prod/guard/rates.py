"""How often a principal may call."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError

_WINDOW_SECONDS = 60


class RateLimit:
    """A moving window of a minute for each principal, exact to the call.

    Holds the time of each call of the last minute, and nothing of a principal whose minute is
    over.

    Args:
        per_minute: How many calls a principal without a limit of its own may make.
        clock: Seconds that only ever grow.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}

    async def take(self, principal: Principal) -> None:
        """Counts one call.

        Raises:
            RateLimitedError: The principal has used up its calls; it says when to come back.
        """
        now = self._clock()
        begin = now - _WINDOW_SECONDS
        calls = self._calls.pop(principal.subject, None) or deque()
        while calls and calls[0] <= begin:
            calls.popleft()
        self._forget_idle(begin)
        # At the end, so that idle principals are all found at the front.
        self._calls[principal.subject] = calls
        limit = principal.rate_limit or self._per_minute
        if len(calls) < limit:
            calls.append(now)
            return
        wait = math.ceil(calls[-limit] - begin)
        raise RateLimitedError(
            f"More than {limit} calls in a minute. Wait {wait} s and try again.",
            retry_after_seconds=wait,
        )

    def _forget_idle(self, begin: float) -> None:
        while self._calls:
            subject = next(iter(self._calls))
            if self._calls[subject][-1] > begin:
                return
            del self._calls[subject]
