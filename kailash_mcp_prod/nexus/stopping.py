"""Notices that the server which carries an app is about to stop.

uvicorn waits for open requests before it tells the app anything, and an event stream is one that
never ends by itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from kailash_mcp_prod.transports.asgi import Receive

_LOOK_SECONDS: Final = 0.1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopWatch:
    """Looks ten times a second, while any request is open.

    Args:
        on_stop: Called once when the server is found to be stopping.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._open: dict[int, Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def over(self, receive: Receive) -> Iterator[None]:
        """Watches for as long as a request is open.

        Args:
            receive: As the server gave it, by which its own view of the request can be seen.
        """
        cycle = getattr(receive, "__self__", None)
        kept_alive = getattr(cycle, "keep_alive", None) is True
        key = id(receive)
        self._open[key] = cycle if kept_alive else None
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(_LOOK_SECONDS, self._look)
        try:
            yield
        finally:
            self._open.pop(key, None)

    def _look(self) -> None:
        self._timer = None
        if not self._open:
            return
        if _is_told_to_stop() or any(
            # uvicorn takes this from all connections when it begins to shut down.
            cycle is not None and not cycle.keep_alive
            for cycle in self._open.values()
        ):
            self._on_stop()
            return
        assert self._loop is not None  # noqa: S101 - set before the timer
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)


def _is_told_to_stop() -> bool:
    """Whether the server that handles this process's signals was told to stop."""
    for each in _SIGNALS:
        server = getattr(signal.getsignal(each), "__self__", None)
        if server is not None and getattr(server, "should_exit", False) is True:
            return True
    return False
