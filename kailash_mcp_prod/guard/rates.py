"""How often a principal may call."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError


class RateLimit:
    """A moving window of a minute for each principal.

    Args:
        per_minute: How many calls a principal without a limit of its own may make.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def take(self, principal: Principal) -> None:
        """Counts one call.

        Raises:
            RateLimitedError: The principal has used up its calls; it says when to come back.
        """
        limit = RateLimitItemPerMinute(principal.rate_limit or self._per_minute)
        if await self._limiter.hit(limit, principal.subject):
            return
        window = await self._limiter.get_window_stats(limit, principal.subject)
        wait = max(0.0, window.reset_time - time.time())
        raise RateLimitedError(
            f"More than {limit.amount} calls in a minute. Wait {wait:.0f} s and try again.",
            retry_after_seconds=round(wait, 1),
        )
