from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from kailash_mcp_prod.background import BackgroundLoop, run_on


@pytest.fixture
def background() -> Iterator[BackgroundLoop]:
    background = BackgroundLoop("test-loop")
    yield background
    if not background.loop.is_closed():
        background.close()


async def name_of_thread() -> str:
    return threading.current_thread().name


async def fail() -> None:
    raise LookupError("here")


def test_a_coroutine_runs_in_the_thread_and_its_result_comes_back(
    background: BackgroundLoop,
) -> None:
    assert background.run(name_of_thread()) == "test-loop"


def test_a_failure_comes_back_too(background: BackgroundLoop) -> None:
    with pytest.raises(LookupError, match="here"):
        background.run(fail())


def test_the_thread_does_not_keep_the_process_alive(background: BackgroundLoop) -> None:
    [thread] = [each for each in threading.enumerate() if each.name == "test-loop"]

    assert thread.daemon


def test_closing_ends_the_thread_and_closes_the_loop(background: BackgroundLoop) -> None:
    background.close()

    assert background.loop.is_closed()
    assert "test-loop" not in {thread.name for thread in threading.enumerate()}


def test_closing_cancels_what_still_runs_and_waits_for_its_end(background: BackgroundLoop) -> None:
    ended = []

    async def begin() -> asyncio.Task[None]:
        started = asyncio.Event()

        async def work() -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("cleaned up")

        task = asyncio.create_task(work())
        await started.wait()
        return task

    task = background.run(begin())
    background.close()

    assert task.cancelled()
    assert ended == ["cleaned up"]


async def test_another_loop_awaits_a_coroutine_there(background: BackgroundLoop) -> None:
    assert await run_on(background.loop, name_of_thread()) == "test-loop"
    with pytest.raises(LookupError, match="here"):
        await run_on(background.loop, fail())


async def test_the_same_loop_awaits_it_directly() -> None:
    async def current_task() -> asyncio.Task[None] | None:
        return asyncio.current_task()

    assert await run_on(asyncio.get_running_loop(), current_task()) is asyncio.current_task()


async def test_the_waiting_loop_stays_free(background: BackgroundLoop) -> None:
    reached, release = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def meet() -> str:
        here.call_soon_threadsafe(reached.set)
        await asyncio.to_thread(release.wait)
        return "met"

    waiting = asyncio.create_task(run_on(background.loop, meet()))
    await reached.wait()
    release.set()

    assert await waiting == "met"


async def test_cancelling_the_wait_cancels_the_work(background: BackgroundLoop) -> None:
    here = asyncio.get_running_loop()
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        here.call_soon_threadsafe(started.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            here.call_soon_threadsafe(cancelled.set)
            raise

    waiting = asyncio.create_task(run_on(background.loop, work()))
    await started.wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(cancelled.wait(), 5)
