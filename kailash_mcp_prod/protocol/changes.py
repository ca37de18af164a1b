"""Spreads the news that the tools changed to everybody who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kailash_mcp_prod.protocol.host import ToolHost


class ToolChanges:
    """Fans one subscription on the host out to many listeners on the event loop.

    It holds the host's subscription only while somebody listens. The host may report a change
    from any thread; listeners run on the loop of the first `subscribe`.
    """

    def __init__(self, host: ToolHost) -> None:
        self._host = host
        self._listeners: dict[object, Callable[[], None]] = {}
        self._release: Callable[[], None] | None = None

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change. Returns a function that ends it."""
        if self._release is None:
            loop = asyncio.get_running_loop()
            self._release = self._host.on_tools_changed(
                lambda: _call_soon(loop, self._publish),
            )
        key = object()
        self._listeners[key] = listener
        return lambda: self._unsubscribe(key)

    def _unsubscribe(self, key: object) -> None:
        self._listeners.pop(key, None)
        if not self._listeners and self._release is not None:
            release, self._release = self._release, None
            release()

    def _publish(self) -> None:
        for listener in tuple(self._listeners.values()):
            listener()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)
