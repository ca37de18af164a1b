"""A worker process: `python -m kailash_mcp_prod.workers.main DESCRIPTOR`, for the supervisor only.

The descriptor is that of the socket over which it is told what to serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from kailash_mcp_prod.cli_loop import (
    Signals,
    configure_logging_of,
    leave_in_time,
    run,
    settle_garbage_collector,
)
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.server import ProductionMCPServer
from kailash_mcp_prod.workers.orders import (
    ALIVE,
    ASK,
    HURRY,
    RETIRE,
    Assignment,
    Report,
    from_line,
    to_line,
)
from kailash_mcp_prod.workers.place import WorkerPlace

log = get_logger(__name__)


def main() -> None:
    """Serves until the supervisor says to stop, or is gone."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    assignment = from_line(_first_line(channel), Assignment)
    try:
        run(_serve(assignment, channel))
    except StartupError as problem:
        report = Report(failure=str(problem), exit_code=problem.exit_code)
        with contextlib.suppress(OSError):
            channel.setblocking(True)
            channel.sendall(to_line(report))
        raise SystemExit(problem.exit_code) from None


def _first_line(channel: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        # Byte by byte, for what follows is read elsewhere.
        byte = channel.recv(1)
        if not byte:
            raise SystemExit(1)
        line += byte
    return line


async def _serve(assignment: Assignment, channel: socket.socket) -> None:
    signals, retired = Signals(leave_in_time), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        # Whoever signals the whole group means to stop, and not to hurry.
        asyncio.get_running_loop().add_signal_handler(each, signals.stopped.set)
    directory = Path(assignment.directory)
    config = ServerConfig.load(
        # Those of one run belong together, and to no other.
        {**assignment.flags, "metrics_directory": directory / "metrics"},
        None if assignment.config_file is None else Path(assignment.config_file),
        assignment.secret,
    )
    configure_logging_of(config, pid=os.getpid())
    given = socket.socket(fileno=assignment.given)
    given.set_inheritable(False)
    given.setblocking(False)
    place = WorkerPlace(assignment.slot, assignment.count, directory, assignment.ports, given)
    server = ProductionMCPServer(config, place=place)
    reader, writer = await asyncio.open_unix_connection(sock=channel.dup())
    hearing = asyncio.create_task(_hear(reader, writer, retired, signals, directory))
    try:
        if not await signals.allow(server.start()):
            return
        settle_garbage_collector()
        writer.write(to_line(Report(server.urls)))
        await _any_of(retired, signals.stopped)
        replaced = not signals.stopped.is_set()
        ends = [
            asyncio.create_task(end)
            for end in (server.drain(replaced=replaced), signals.hurried.wait())
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        leave_in_time()
    finally:
        hearing.cancel()
        await server.stop(drain=False)
        writer.close()


async def _hear(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    retired: asyncio.Event,
    signals: Signals,
    directory: Path,
) -> None:
    with contextlib.suppress(OSError):
        while line := await reader.readline():
            if line == ASK:
                writer.write(ALIVE)
            elif line == RETIRE:
                retired.set()
            elif line == HURRY:
                signals.hurried.set()
    log.error("supervisor_gone")
    # Nobody else will; what it held was for this run alone.
    shutil.rmtree(directory, ignore_errors=True)
    signals.stopped.set()


async def _any_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(each.wait()) for each in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


if __name__ == "__main__":
    main()
