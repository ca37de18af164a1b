from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.records.completion import to_the_end


class Closing:
    """A commit that begins, then waits for the database's answer."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.answer = asyncio.Event()
        self.done = False

    async def __call__(self, failure: Exception | None = None) -> str:
        self.begun.set()
        await self.answer.wait()
        if failure:
            raise failure
        self.done = True
        return "stored"


async def test_the_result_of_the_end_is_passed_on() -> None:
    closing = Closing()
    closing.answer.set()

    assert await to_the_end(closing()) == "stored"


async def test_a_failure_of_the_end_is_passed_on() -> None:
    closing = Closing()
    closing.answer.set()

    with pytest.raises(OSError, match="lost"):
        await to_the_end(closing(OSError("lost")))


async def test_a_cancelled_call_reports_the_end_that_was_on_its_way() -> None:
    closing = Closing()
    call = asyncio.ensure_future(to_the_end(closing()))
    await closing.begun.wait()

    call.cancel()
    closing.answer.set()

    assert await call == "stored"


async def test_a_cancelled_call_reports_the_failure_of_the_end() -> None:
    closing = Closing()
    call = asyncio.ensure_future(to_the_end(closing(OSError("lost"))))
    await closing.begun.wait()

    call.cancel()
    closing.answer.set()

    with pytest.raises(OSError, match="lost"):
        await call


async def test_a_cancelled_call_does_not_wait_for_ever() -> None:
    closing = Closing()
    call = asyncio.ensure_future(to_the_end(closing(), seconds=0.01))
    await closing.begun.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert not closing.done


async def test_a_call_cancelled_twice_ends_at_once() -> None:
    closing = Closing()
    call = asyncio.ensure_future(to_the_end(closing(), seconds=60))
    await closing.begun.wait()

    call.cancel()
    await asyncio.sleep(0)
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert not closing.done
