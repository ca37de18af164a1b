"""The process of `serve --workers N`: keeps N workers, gives them connections, and replaces them.

It imports no application and serves nothing itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kailash_mcp_prod.cli_loop import Signals
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.scratch import scratch_folder
from kailash_mcp_prod.transports.binding import bind_both
from kailash_mcp_prod.transports.http_wire import PARTING_SECONDS
from kailash_mcp_prod.workers.child import Child
from kailash_mcp_prod.workers.orders import Assignment, Report
from kailash_mcp_prod.workers.pauses import Pause
from kailash_mcp_prod.workers.sharing import Sharing

log = get_logger(__name__)

_STOP_SECONDS: Final = 10.0


class Supervisor:
    """Keeps the workers of one run.

    Args:
        config: The settings.
        flags: What the command line says, by key; workers read the rest for themselves, each time
            one starts.
        config_file: The JSON file that the command line names.
        tell: Hears the addresses once all workers serve.
    """

    def __init__(
        self,
        config: ServerConfig,
        flags: Mapping[str, Any],
        config_file: Path | None,
        tell: Callable[[Mapping[str, str]], None],
    ) -> None:
        self._config = config
        self._flags = dict(flags)
        self._config_file = config_file
        self._tell = tell
        self._secret = secrets.token_bytes(32)
        self._current: dict[int, Child] = {}
        self._all: set[Child] = set()
        self._starting: dict[int, Child] = {}
        self._places = [asyncio.Lock() for _ in range(config.workers)]
        self._pauses = [Pause() for _ in range(config.workers)]
        self._keeping: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Event()
        self._sharing = Sharing(())
        self._ports = (0, 0)
        self._directory = Path()

    async def run(self) -> None:
        """Serves until a signal says to stop. SIGHUP replaces the workers one after another.

        Raises:
            StartupError: A port can't be bound, there is no place for files, or the first worker
                of a place can't start.
        """
        signals = Signals(lambda: None)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._replacing.set)
        with contextlib.ExitStack() as stack:
            first, second = bind_both(self._config.host, self._config.port)
            self._ports = first.getsockname()[1], second.getsockname()[1]
            self._sharing = Sharing((first, second))
            stack.callback(self._sharing.close)
            self._directory = stack.enter_context(scratch_folder("kailash-mcp-prod-"))
            try:
                if await signals.allow(self._start_all()):
                    self._keep(self._replace_when_told())
                    await signals.stopped.wait()
            finally:
                await self._stop_all(signals.hurried)

    async def _start_all(self) -> None:
        # One first: it prepares the database, and what it can't do, the others can't either.
        report = await self._start(0)
        starting = [
            asyncio.create_task(self._start(slot)) for slot in range(1, self._config.workers)
        ]
        try:
            await asyncio.gather(*starting)
        finally:
            for each in starting:
                each.cancel()
        self._tell(report.urls)
        log.info("workers_serve", workers=self._config.workers)

    async def _start(self, slot: int) -> Report:
        """Starts a worker, which takes its place once clients can connect to it."""
        child = await Child.start(
            Assignment(
                flags=self._flags,
                config_file=None if self._config_file is None else str(self._config_file),
                secret=self._secret,
                directory=str(self._directory),
                slot=slot,
                count=self._config.workers,
                ports=self._ports,
            )
        )
        self._all.add(child)
        self._starting[slot] = child
        try:
            report = await child.ready()
        except StartupError:
            self._all.discard(child)
            raise
        finally:
            del self._starting[slot]
        self._current[slot] = child
        self._sharing.give_to(slot, child.giving)
        self._keep(self._watch(child))
        self._keep(self._look_after(child))
        return report

    async def _start_in_place(self, slot: int) -> None:
        """Starts a worker in place of another one, unless it is told to replace all meanwhile.

        What keeps it from starting, such as a wrong address that it waits for, may be mended then.

        Raises:
            StartupError: As `_start`, or because it was told so.
        """
        starting = asyncio.create_task(self._start(slot))
        told = asyncio.create_task(self._replacing.wait())
        try:
            await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                child = self._starting.get(slot)
                starting.cancel()
                await asyncio.wait({starting})
                if child is not None:
                    child.stop()
                    await child.end_within(_STOP_SECONDS)
                    self._all.discard(child)
                raise StartupError("SIGHUP came before it had started.")
            await starting
        finally:
            starting.cancel()
            told.cancel()

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _watch(self, child: Child) -> None:
        """Starts another worker if one ends that has not been replaced."""
        code = await child.wait()
        self._sharing.leave_out(child.slot, child.giving)
        self._all.discard(child)
        if self._current.get(child.slot) is not child:
            log.info("worker_ended", worker=child.slot + 1, ended_pid=child.process.pid)
            return
        pause = self._pauses[child.slot]
        log.error(
            "worker_died",
            worker=child.slot + 1,
            dead_pid=child.process.pid,
            code=code,
            next_try_seconds=pause.after_death(child.served_seconds),
        )
        while self._current.get(child.slot) is child:
            # Without the place, so that whoever is told to replace all need not wait for it.
            await asyncio.sleep(pause.seconds)
            async with self._places[child.slot]:
                if self._current.get(child.slot) is not child:
                    return
                try:
                    await self._start_in_place(child.slot)
                except StartupError as problem:
                    log.error(  # noqa: TRY400 - the worker has told all there is to tell
                        "worker_does_not_start",
                        worker=child.slot + 1,
                        reason=str(problem),
                        next_try_seconds=pause.after_failure(),
                    )

    async def _look_after(self, child: Child) -> None:
        """Ends a worker that hangs, so that another one is started.

        One that has been replaced is waited for elsewhere.
        """
        seconds = self._config.worker_timeout_seconds
        while self._serves(child):
            await asyncio.sleep(seconds / 2)
            if await child.hangs(seconds) and self._serves(child):
                log.error(
                    "worker_hangs",
                    worker=child.slot + 1,
                    hanging_pid=child.process.pid,
                    silent_seconds=seconds,
                )
                self._sharing.leave_out(child.slot, child.giving)
                child.stop()
                await child.end_within(_STOP_SECONDS)
                return

    def _serves(self, child: Child) -> bool:
        return self._current.get(child.slot) is child and child.process.returncode is None

    async def _replace_when_told(self) -> None:
        while True:
            await self._replacing.wait()
            self._replacing.clear()
            log.info("workers_replaced_from_now_on", workers=self._config.workers)
            try:
                for slot in range(self._config.workers):
                    await self._replace(slot)
            except StartupError as problem:
                # Whoever still serves goes on: what is wrong can be mended, and told anew.
                log.error("workers_not_replaced", reason=str(problem))  # noqa: TRY400 - as above
            else:
                log.info("workers_replaced", workers=self._config.workers)

    async def _replace(self, slot: int) -> None:
        """Starts a worker, and then lets the one before go, whose end is waited for.

        One that hangs is killed in the end, or nobody would ever be replaced after it.

        Raises:
            StartupError: The new one does not start; the old one goes on.
        """
        async with self._places[slot]:
            before = self._current[slot]
            await self._start_in_place(slot)
            before.retire()
        if not await before.end_within(self._ending_seconds + PARTING_SECONDS):
            log.error("worker_killed", worker=slot + 1, killed_pid=before.process.pid)

    @property
    def _ending_seconds(self) -> float:
        """How long a worker takes to end, at the most."""
        return self._config.shutdown_grace_seconds + self._config.drain_seconds + _STOP_SECONDS

    async def _stop_all(self, hurried: asyncio.Event) -> None:
        keeping = tuple(self._keeping)
        for task in keeping:
            task.cancel()
        if keeping:
            await asyncio.wait(keeping)
        children = tuple(self._all)
        if not children:
            return
        log.info("workers_end", workers=len(children))
        for child in children:
            child.stop()
        # Until then the workers take new connections.
        loop = asyncio.get_running_loop()
        loop.call_later(self._config.shutdown_grace_seconds, self._sharing.close)
        ends = asyncio.gather(*(child.wait() for child in children))
        hurrying = asyncio.ensure_future(hurried.wait())
        either: set[asyncio.Future[Any]] = {ends, hurrying}
        await asyncio.wait(
            either, timeout=self._ending_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if hurrying.done():
            for child in children:
                child.hurry()
            await asyncio.wait({ends}, timeout=_STOP_SECONDS)
        hurrying.cancel()
        for child in children:
            child.kill()
        await ends
