"""How a process serves: on uvloop where it is installed, with a garbage collector set for that."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_TERMINATED: Final = 128 + signal.SIGTERM


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine as `asyncio.run` does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def run_until_told(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine; SIGTERM cancels it, so that what it has started is stopped first.

    Raises:
        SystemExit: It was told to stop.
    """

    async def stoppable() -> Result:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        with suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise SystemExit(_TERMINATED) from None


def settle_garbage_collector() -> None:
    """Takes what the start has made out of later collections, and makes those rarer.

    Looking through it again would hold every call up to 0.1 s; it stays anyway. For processes that
    do nothing but serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class Signals:
    """What SIGINT and SIGTERM have said to the running loop: to stop, and then to hurry.

    Args:
        leave_in_time: Ends the process soon, whatever still runs in a thread.
    """

    def __init__(self, leave_in_time: Callable[[], None]) -> None:
        self.stopped = asyncio.Event()
        self.hurried = asyncio.Event()
        self._leave_in_time = leave_in_time
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._told)

    async def allow(self, start: Coroutine[Any, Any, None]) -> bool:
        """Starts something; whether it has started before a signal came, which gives it up.

        Raises:
            StartupError: As the start does.
        """
        starting = asyncio.create_task(start)
        stopping = asyncio.create_task(self.stopped.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            self._leave_in_time()
            starting.cancel()
            await asyncio.wait({starting})
            return False
        await starting
        return True

    def _told(self) -> None:
        (self.hurried if self.stopped.is_set() else self.stopped).set()
