"""Tells those who serve a credential for longer than a request when it ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

_PRUNE_FROM: Final = 1000
_KEPT_SECONDS: Final = 3600.0


class CredentialEnds:
    """Which credentials have ended before their time, and who waits for that.

    A credential is any text that names one. An end is remembered for as long as the credential
    would be good without it, and an hour more: clocks may be off.
    """

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}
        self._callbacks: dict[str, dict[object, Callable[[], None]]] = {}
        self._prune_at = _PRUNE_FROM

    @property
    def watched(self) -> bool:
        """Whether anybody waits for an end."""
        return bool(self._callbacks)

    def ended(self, credential: str) -> bool:
        """Whether the credential has ended."""
        return credential in self._ended

    def on_end(self, credential: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at the end, at once if it has passed. Returns a function that forgets it."""
        if credential in self._ended:
            callback()
            return lambda: None
        key = object()
        self._callbacks.setdefault(credential, {})[key] = callback

        def forget() -> None:
            waiting = self._callbacks.get(credential, {})
            waiting.pop(key, None)
            if not waiting:
                self._callbacks.pop(credential, None)

        return forget

    def end(self, credential: str, *, until: float | None = None) -> None:
        """End a credential now.

        Args:
            credential: Which.
            until: The Unix time when it would have ended by itself; `None` for never.
        """
        self._forget_timer(credential)
        self._ended[credential] = math.inf if until is None else until + _KEPT_SECONDS
        if len(self._ended) >= self._prune_at:
            self._prune()
        for callback in self._callbacks.pop(credential, {}).values():
            callback()

    def end_at(self, credential: str, when: float) -> None:
        """End a credential at a Unix time, instead of when it would have ended otherwise."""
        self._forget_timer(credential)
        delay = when - time.time()
        loop = asyncio.get_running_loop()
        # The credential itself says from then on that it has expired.
        end = loop.call_later(max(delay, 0), self._end_expired, credential, when)
        self._ending[credential] = end

    def end_all_watched(self) -> None:
        """Tell everybody who waits, and remember nothing of it."""
        waiting, self._callbacks = self._callbacks, {}
        for callbacks in waiting.values():
            for callback in callbacks.values():
                callback()

    def close(self) -> None:
        """Waits for no more ends."""
        for timer in self._ending.values():
            timer.cancel()
        self._ending.clear()

    def _end_expired(self, credential: str, until: float) -> None:
        self._ending.pop(credential, None)
        self.end(credential, until=until)

    def _forget_timer(self, credential: str) -> None:
        timer = self._ending.pop(credential, None)
        if timer is not None:
            timer.cancel()

    def _prune(self) -> None:
        now = time.time()
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        self._prune_at = max(_PRUNE_FROM, 2 * len(self._ended))
