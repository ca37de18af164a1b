"""Moving windows in this process's memory, exact to the call."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

WINDOW_SECONDS = 60

Key = str | tuple[str, ...]
"""Whose calls are counted together."""

Rule = tuple[Key, int]
"""A key, and how many calls it may make in a window."""

Refusal = tuple[Rule, float]
"""The rule that refuses a call, and for how many seconds more."""


class Windows:
    """The times of the calls of the last minute for each key; nothing of a key that was idle."""

    def __init__(self) -> None:
        self._calls: dict[Key, deque[float]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def refusal(self, rules: Sequence[Rule], now: float) -> Refusal | None:
        """What refuses a call now, the longest lasting if there are several; counts nothing."""
        begin = now - WINDOW_SECONDS
        refusal = None
        for rule in rules:
            key, limit = rule
            calls = self._calls.get(key)
            if calls is None or len(calls) < limit:
                continue
            left = calls[-limit] - begin
            if left > 0 and (refusal is None or left > refusal[1]):
                refusal = rule, left
        return refusal

    def used(self, key: Key, now: float) -> int:
        """How many calls of the last minute are counted together under a key."""
        begin = now - WINDOW_SECONDS
        calls = self._calls.get(key, ())
        return len(calls) - bisect_right(calls, begin)

    def add(self, rules: Sequence[Rule], now: float) -> None:
        """Counts one call against each rule."""
        begin = now - WINDOW_SECONDS
        for key, _ in rules:
            calls = self._calls.pop(key, None) or deque()
            while calls and calls[0] <= begin:
                calls.popleft()
            calls.append(now)
            # At the end, so that idle keys are all found at the front.
            self._calls[key] = calls
        while True:
            key = next(iter(self._calls))
            if self._calls[key][-1] > begin:
                return
            del self._calls[key]
