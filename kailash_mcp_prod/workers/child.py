"""One worker, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import suppress
from typing import Final, Self

import msgspec

from kailash_mcp_prod.errors import (
    ConfigError,
    DatabaseStartupError,
    ModelError,
    StartupError,
)
from kailash_mcp_prod.workers.orders import (
    ASK,
    HURRY,
    RETIRE,
    Assignment,
    Report,
    from_line,
    to_line,
)

_KINDS: Final = {
    kind.exit_code: kind for kind in (StartupError, ConfigError, ModelError, DatabaseStartupError)
}
_LOOKS: Final = 2


class Child:
    """A worker process and the socket on which it reports.

    Args:
        slot: Which of the workers it is.
        process: It.
        reader: Where its report comes from.
        writer: Where it is told to retire. When that closes, it ends.
        giving: Where it takes connections from.
    """

    def __init__(
        self,
        slot: int,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        giving: socket.socket,
    ) -> None:
        self.slot = slot
        self.process = process
        self.giving = giving
        self._reader = reader
        self._writer = writer
        self._ready_at: float | None = None

    @classmethod
    async def start(cls, assignment: Assignment) -> Self:
        """Starts one.

        It is a new process, and not a fork of this one, so that after an update it runs the new
        code. It has a process group of its own: Ctrl-C in a terminal is for the supervisor alone,
        or workers would hear of the end twice and hurry.

        Raises:
            StartupError: The system makes no further process at the moment.
        """
        try:
            return await cls._start(assignment)
        except OSError as failure:
            raise StartupError(f"A worker can't be started: {failure.strerror}.") from None

    @classmethod
    async def _start(cls, assignment: Assignment) -> Self:
        ours, theirs = socket.socketpair()
        giving, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        giving.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "kailash_mcp_prod.workers.main", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), given.fileno()),
                process_group=0,
            )
        except BaseException:
            ours.close()
            giving.close()
            raise
        finally:
            theirs.close()
            descriptor = given.fileno()
            given.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(to_line(msgspec.structs.replace(assignment, given=descriptor)))
        return cls(assignment.slot, process, reader, writer, giving)

    @property
    def served_seconds(self) -> float:
        """How long clients could connect to it until now."""
        return 0.0 if self._ready_at is None else time.monotonic() - self._ready_at

    async def ready(self) -> Report:
        """Waits until clients can connect to it.

        Raises:
            StartupError: It has failed to start; of the kind and with the text that it told.
        """
        try:
            report = from_line(await self._reader.readline(), Report)
        except (msgspec.DecodeError, OSError):
            code = await self.wait()
            raise StartupError(
                f"A worker ended with the code {code} while it started; its log says why."
            ) from None
        if report.failure is not None:
            await self.wait()
            raise _KINDS.get(report.exit_code, StartupError)(report.failure)
        self._ready_at = time.monotonic()
        return report

    async def hangs(self, seconds: float) -> bool:
        """Asks for a sign of life; whether none comes in that time. One that has ended hangs not.

        It is looked for twice: if all stood still for a while, as a frozen container does, the
        first time is over before the worker had any of it.
        """
        self._tell(ASK)
        answer = asyncio.ensure_future(self._reader.readline())
        try:
            for _ in range(_LOOKS):
                await asyncio.wait({answer}, timeout=seconds / _LOOKS)
            if not answer.done():
                return True
            with suppress(OSError):
                await answer
            return False
        finally:
            answer.cancel()

    def retire(self) -> None:
        """Lets it finish what runs: another one accepts in its place."""
        self._tell(RETIRE)

    def hurry(self) -> None:
        """Lets it no longer wait for what runs."""
        self._tell(HURRY)

    def _tell(self, order: bytes) -> None:
        with suppress(OSError):
            self._writer.write(order)

    def stop(self) -> None:
        """Asks it to end."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """Ends it."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def end_within(self, seconds: float) -> bool:
        """Waits for its end, and brings it about after that time; whether it came by itself."""
        ending = asyncio.ensure_future(self.wait())
        await asyncio.wait({ending}, timeout=seconds)
        by_itself = ending.done()
        if not by_itself:
            self.kill()
        await ending
        return by_itself

    async def wait(self) -> int:
        """Waits for its end, and returns its exit code."""
        code = await self.process.wait()
        self._writer.close()
        self.giving.close()
        return code
