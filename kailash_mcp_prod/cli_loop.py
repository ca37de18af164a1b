"""How a process serves: on uvloop where it is installed, with a garbage collector set for that."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from kailash_mcp_prod.config import ServerConfig

Result = TypeVar("Result")
_LEAVE_SECONDS = 1.5

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


def leave_in_time() -> None:
    """Ends the process soon, whatever still runs in a thread.

    The interpreter waits for all threads, and a driver's may wait for a lock or for ever.
    """

    def leave() -> None:
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(_LEAVE_SECONDS, leave)
    timer.daemon = True
    timer.start()


def configure_logging_of(config: ServerConfig, *, pid: int | None = None) -> None:
    """Logs as the settings say.

    Args:
        config: The settings.
        pid: Stands in each line, where several processes log to one place.

    Raises:
        ConfigError: The log file can't be opened.
    """
    if config.connect is None or config.log_file is not None or config.log_format != "auto":
        # Late, because it takes as long to import as all that a bridge needs.
        _import_structlog()
        from kailash_mcp_prod.observe.logs import configure_logging

        configure_logging(
            config.log_level,
            form=None if config.log_format == "auto" else config.log_format,
            file=config.log_file,
            file_max_bytes=round(config.log_file_max_mb * 1024 * 1024),
            files_kept=config.log_files_kept,
            pid=pid,
        )
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s [%(levelname)s] %(message)s")
        logging.getLogger("kailash_mcp_prod").setLevel(config.log_level)


def _import_structlog() -> None:
    # It takes rich along where that is installed, for tracebacks that are written in another way
    # here. To import it is a fifteenth of what a start over stdio takes.
    if sys.modules.get("rich") is None:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog  # noqa: F401
        finally:
            del sys.modules["rich"]


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
