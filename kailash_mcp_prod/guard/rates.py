"""How often a principal, and everybody together, may call."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError
from kailash_mcp_prod.guard.redis import RedisDownError
from kailash_mcp_prod.guard.redis_windows import RedisWindows
from kailash_mcp_prod.guard.windows import Key, Refusal, Rule, Windows

_EVERYBODY = ("everybody", "")


class RateLimit:
    """Moving windows of a minute: of everybody, of each principal, and of its calls of a kind.

    A call that one of them refuses counts against none. Where there is a Redis, all replicas count
    together there. This process counts along, so that it goes on by itself with limits of the
    same size when Redis is away, and does not ask it about principals that are over their limit
    here alone.

    Args:
        per_minute: How many calls a principal without a limit of its own may make.
        clock: Seconds that only ever grow.
        everybody: How many calls all principals may make together; `None` for any number.
        kinds: How many calls of a kind, such as `write`, one principal may make.
        shared: The windows in Redis.
    """

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        everybody: int | None = None,
        kinds: Mapping[str, int] | None = None,
        shared: RedisWindows | None = None,
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._everybody = everybody
        self._kinds = dict(kinds or {})
        self._shared = shared
        self._windows = Windows()
        self.refusals: Counter[str] = Counter()
        """How many calls were refused, by whose limit: `principal`, `everybody` or a kind."""

    def check(self, principal: Principal) -> None:
        """Refuses one who is known to be over its limit; counts nothing.

        Raises:
            RateLimitedError: It is.
        """
        refusal = self._windows.refusal(self._rules(principal, None), self._clock())
        if refusal is not None:
            raise self._refuse(refusal)

    async def take(self, principal: Principal, kind: str | None = None) -> None:
        """Counts one call.

        Args:
            principal: Who calls.
            kind: The kind of the tool; `None` for a tool that is not there.

        Raises:
            RateLimitedError: A limit is used up; it says when to come back.
        """
        rules = self._rules(principal, kind)
        # Before Redis looks at its clock, so that a window here never ends after the one there.
        now = self._clock()
        if self._shared is not None and self._shared.is_up:
            refusal = self._windows.refusal(rules, now)
            if refusal is None:
                with suppress(RedisDownError):
                    refusal = await self._shared.take(rules)
            if refusal is not None:
                raise self._refuse(refusal)
        # Redis has counted all that this process has, and so refuses first. Only when it went away
        # or came back meanwhile, this process knows more.
        refusal = self._windows.refusal(rules, now)
        if refusal is not None:
            raise self._refuse(refusal)
        self._windows.add(rules, now)

    def room(self, principal: Principal, kind: str | None) -> Sequence[Rule] | None:
        """What one more call is counted against, if it may be made and nobody has to be asked.

        `None` otherwise; `take` then says more. Counts nothing: `count` does.
        """
        if self._shared is not None:
            return None
        rules = self._rules(principal, kind)
        return rules if self._windows.refusal(rules, self._clock()) is None else None

    def count(self, rules: Sequence[Rule]) -> None:
        """Counts one call for which there was room."""
        self._windows.add(rules, self._clock())

    def usage(self, principal: Principal) -> list[tuple[str, int, int]]:
        """What a principal has used of each limit in the last minute, as this process counts.

        Each is the kind of the calls, empty for all of them, how many there were, and the limit.
        """
        subject, now = principal.subject, self._clock()
        rules = self._rules(principal, None)[:1]
        rules += [((kind, subject), limit) for kind, limit in self._kinds.items()]
        return [
            ("" if isinstance(key, str) else key[0], self._windows.used(key, now), limit)
            for key, limit in rules
        ]

    def everybody(self) -> tuple[int, int] | None:
        """What all have used of the limit of the server, and the limit, if there is one."""
        if self._everybody is None:
            return None
        return self._windows.used(_EVERYBODY, self._clock()), self._everybody

    def left(self, principal: Principal, kind: str | None = None) -> list[tuple[str, int, int]]:
        """Of each limit that binds a call: its name, what is left, and how much there is.

        As this process counts: with a Redis, other replicas may have used some of it.
        """
        now = self._clock()
        return [
            (_named(key), max(0, limit - self._windows.used(key, now)), limit)
            for key, limit in self._rules(principal, kind)
        ]

    def health(self) -> dict[str, Any]:
        """Its component in the report on health."""
        if self._shared is None:
            return {"status": "healthy", "storage": "memory"}
        if self._shared.is_up:
            return {"status": "healthy", "storage": "redis"}
        return {"status": "degraded", "storage": "local"}

    def _refuse(self, refusal: Refusal) -> RateLimitedError:
        key = refusal[0][0]
        limit = "principal" if isinstance(key, str) else key[0]
        self.refusals[limit] += 1
        return _refused(refusal)

    def _rules(self, principal: Principal, kind: str | None) -> list[Rule]:
        subject = principal.subject
        rules: list[Rule] = [(subject, principal.rate_limit or self._per_minute)]
        if self._everybody is not None:
            rules.append((_EVERYBODY, self._everybody))
        if kind is not None and kind in self._kinds:
            rules.append(((kind, subject), self._kinds[kind]))
        return rules


def _named(key: Key) -> str:
    if key == _EVERYBODY:
        return "to everybody"
    return "to the caller" if isinstance(key, str) else f"of the kind {key[0]}"


def _refused(refusal: Refusal) -> RateLimitedError:
    (key, limit), left = refusal
    wait = max(1, math.ceil(left))
    if key == _EVERYBODY:
        text = f"All clients together made more than {limit} calls in a minute."
    elif isinstance(key, str):
        text = f"More than {limit} calls in a minute."
    else:
        text = f"More than {limit} calls of the kind {key[0]} in a minute."
    return RateLimitedError(f"{text} Wait {wait} s and try again.", retry_after_seconds=wait)
