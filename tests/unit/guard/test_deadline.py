from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.guard.deadline import Deadline


async def test_what_ends_in_time_is_left_alone() -> None:
    with Deadline(Delays(5)) as deadline:
        await asyncio.sleep(0)
    assert deadline.expired is False


async def test_what_takes_longer_is_cancelled_and_raises() -> None:
    with pytest.raises(TimeoutError), Deadline(Delays(0.01)) as deadline:
        await asyncio.Event().wait()
    assert deadline.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_of_the_task_itself_passes_through() -> None:
    async def work() -> None:
        with Deadline(Delays(5)):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_failure_passes_through() -> None:
    with pytest.raises(ValueError, match="broken"), Deadline(Delays(5)):
        raise ValueError("broken")


async def test_what_ends_although_it_was_cancelled_keeps_its_result() -> None:
    result = []
    with Deadline(Delays(0.01)) as deadline:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            result.append("stored after all")
    assert deadline.expired
    assert result == ["stored after all"]


async def test_a_time_out_of_the_work_itself_is_told_apart() -> None:
    with pytest.raises(TimeoutError), Deadline(Delays(5)) as deadline:
        raise TimeoutError
    assert not deadline.expired


async def test_a_block_that_ended_in_time_cancels_nothing_that_comes_after() -> None:
    delays = Delays(0.01)
    with Deadline(delays) as early:
        pass

    with pytest.raises(TimeoutError), Deadline(delays):
        await asyncio.Event().wait()

    assert not early.expired


async def test_it_refuses_to_begin_where_there_is_no_task_to_cancel() -> None:
    loop = asyncio.get_running_loop()
    refusal: asyncio.Future[str] = loop.create_future()

    def begin() -> None:
        with pytest.raises(RuntimeError) as refused, Deadline(Delays(5)):
            pass
        refusal.set_result(str(refused.value))

    loop.call_soon(begin)

    async with asyncio.timeout(5):
        assert await refusal == "A Deadline needs a running task."
