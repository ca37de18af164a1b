"""Spreads the news of a host to everybody who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Changes:
    """Fans one subscription on a host out to many listeners on the event loop.

    It holds the host's subscription only while somebody listens. The host may report a change
    from any thread; listeners run on the loop of the first `subscribe`.

    Args:
        source: Subscribes a listener to the host and returns the function that ends that.
    """

    def __init__(self, source: Callable[[Callable[..., None]], Callable[[], None]]) -> None:
        self._source = source
        self._listeners: dict[object, Callable[..., None]] = {}
        self._release: Callable[[], None] | None = None

    def subscribe(self, listener: Callable[..., None]) -> Callable[[], None]:
        """Call `listener` after every change, with what the host tells of it.

        Returns a function that ends it.
        """
        if self._release is None:
            loop = asyncio.get_running_loop()
            self._release = self._source(lambda *news: _call_soon(loop, self._publish, news))
        key = object()
        self._listeners[key] = listener
        return lambda: self._unsubscribe(key)

    def _unsubscribe(self, key: object) -> None:
        self._listeners.pop(key, None)
        if not self._listeners and self._release is not None:
            release, self._release = self._release, None
            release()

    def _publish(self, news: tuple[Any, ...]) -> None:
        for listener in tuple(self._listeners.values()):
            listener(*news)


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[[tuple[Any, ...]], None],
    news: tuple[Any, ...],
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, news)
