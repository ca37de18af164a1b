"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.workers.child import Child
from kailash_mcp_prod.workers.orders import Assignment

Start = Callable[[str], Awaitable[Child]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts the code of a worker that does nothing else."""
    children: list[Child] = []

    async def started(code: str) -> Child:
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=theirs.fileno(), pass_fds=[theirs.fileno()]
        )
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        children.append(Child(0, process, reader, writer, socket.socket(socket.AF_UNIX)))
        return children[-1]

    yield started
    for each in children:
        each.kill()
        await each.wait()


async def test_a_worker_that_ends_by_itself_is_waited_for(start: Start) -> None:
    child = await start("input()")
    child.retire()

    assert await child.end_within(30)
    assert child.process.returncode == 0


async def test_a_worker_that_hangs_is_ended(start: Start) -> None:
    child = await start("input()")
    child.process.send_signal(signal.SIGSTOP)
    child.retire()

    assert not await child.end_within(0.05)
    assert child.process.returncode == -signal.SIGKILL


async def test_that_no_process_can_be_made_is_a_failure_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As while an update puts another Python in its place.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assignment = Assignment({}, None, b"", str(tmp_path), slot=0, count=2, ports=(1, 2))

    with pytest.raises(StartupError, match=r"^A worker can't be started: No such file"):
        await Child.start(assignment)
