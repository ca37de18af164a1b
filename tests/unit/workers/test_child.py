"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
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


ANSWERS = "import os; os.dup2(0, 1)\nwhile input(): print('alive', flush=True)"


async def test_a_worker_that_answers_does_not_hang_however_often_it_is_asked(start: Start) -> None:
    child = await start(ANSWERS)

    assert [await child.hangs(30) for _ in range(3)] == [False] * 3


async def test_a_worker_that_is_busy_for_less_than_the_time_does_not_hang(start: Start) -> None:
    child = await start(ANSWERS)
    assert not await child.hangs(30)
    child.process.send_signal(signal.SIGSTOP)
    # Beyond the first of the two looks.
    asyncio.get_running_loop().call_later(2.2, child.process.send_signal, signal.SIGCONT)

    assert not await child.hangs(4)


async def test_a_worker_that_gives_no_sign_of_life_hangs(start: Start) -> None:
    child = await start(ANSWERS)
    assert not await child.hangs(30)
    child.process.send_signal(signal.SIGSTOP)

    assert await child.hangs(0.1)


async def test_a_late_answer_is_not_taken_for_the_next_one(start: Start) -> None:
    child = await start(ANSWERS)
    for _ in range(3):
        child.process.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.4, child.process.send_signal, signal.SIGCONT)
        assert not await child.hangs(30)
    child.process.send_signal(signal.SIGSTOP)

    assert await child.hangs(0.1)


async def test_a_worker_that_has_ended_does_not_hang(start: Start) -> None:
    child = await start("pass")
    await child.process.wait()

    assert not await child.hangs(30)


async def test_a_first_look_that_comes_too_early_is_not_enough(start: Start) -> None:
    """As after a freeze of supervisor and workers, in which only the clock went on."""
    child = await start(ANSWERS)
    assert not await child.hangs(30)
    child.process.send_signal(signal.SIGSTOP)
    loop = asyncio.get_running_loop()

    def freeze() -> None:
        time.sleep(2.5)
        loop.call_soon(child.process.send_signal, signal.SIGCONT)

    loop.call_soon(freeze)
    assert not await child.hangs(2)


async def test_that_no_process_can_be_made_is_a_failure_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As while an update puts another Python in its place.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assignment = Assignment({}, None, b"", str(tmp_path), slot=0, count=2, ports=(1, 2))

    with pytest.raises(StartupError, match=r"^A worker can't be started: No such file"):
        await Child.start(assignment)
