from __future__ import annotations

import asyncio
import contextlib

import pytest

from kailash_mcp_prod.protocol.lifetimes import CancelScope, Lifetime


async def test_a_cancelled_scope_ends_its_block_and_not_the_task() -> None:
    entered = asyncio.Event()
    scope = CancelScope()

    async def work() -> str:
        with scope:
            entered.set()
            await asyncio.Event().wait()
        return "went on"

    task = asyncio.create_task(work())
    await entered.wait()
    scope.cancel()

    assert await task == "went on"
    assert scope.cancelled
    assert task.cancelling() == 0


async def test_a_cancellation_of_the_task_passes_through_the_scope() -> None:
    entered = asyncio.Event()
    scope = CancelScope()

    async def work() -> None:
        with scope:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scope.cancelled


async def test_a_cancellation_of_task_and_scope_together_ends_the_task() -> None:
    entered = asyncio.Event()
    scope = CancelScope()

    async def work() -> None:
        with scope:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    scope.cancel()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_outer_scope_ends_the_blocks_inside() -> None:
    outer, inner = CancelScope(), CancelScope()
    entered = asyncio.Event()
    after_inner: list[str] = []

    async def work() -> str:
        with outer:
            with inner:
                entered.set()
                await asyncio.Event().wait()
            after_inner.append("ran")
        return "went on"

    task = asyncio.create_task(work())
    await entered.wait()
    outer.cancel()

    assert await task == "went on"
    assert (outer.cancelled, inner.cancelled, after_inner) == (True, False, [])


async def test_a_block_that_swallows_the_cancellation_still_counts_as_cancelled() -> None:
    entered = asyncio.Event()
    scope = CancelScope()

    async def work() -> int:
        with scope:
            entered.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        current = asyncio.current_task()
        assert current is not None
        return current.cancelling()

    task = asyncio.create_task(work())
    await entered.wait()
    scope.cancel()

    assert await task == 0
    assert scope.cancelled


async def test_cancelling_an_ended_scope_does_nothing() -> None:
    with CancelScope() as scope:
        pass
    scope.cancel()
    await asyncio.sleep(0)

    assert not scope.cancelled


def test_the_end_of_a_lifetime_is_told_once() -> None:
    told: list[str] = []
    lifetime = Lifetime()
    lifetime.on_end(lambda: told.append("a"))
    forget = lifetime.on_end(lambda: told.append("b"))
    forget()
    lifetime.end()
    lifetime.end()

    assert told == ["a"]
    assert lifetime.ended


def test_who_asks_after_the_end_is_told_at_once() -> None:
    told: list[str] = []
    lifetime = Lifetime()
    lifetime.end()
    lifetime.on_end(lambda: told.append("late"))()

    assert told == ["late"]
