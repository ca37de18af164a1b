"""Lets the end of a transaction be known, although its call may be cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

CLOSING_SECONDS = 5.0

Result = TypeVar("Result")


async def to_the_end(
    closing: Coroutine[Any, Any, Result], *, seconds: float = CLOSING_SECONDS
) -> Result:
    """Awaits a commit or a roll-back that a cancellation must not leave half done.

    A cancelled wait doesn't stop a commit that is on its way. So it is waited for, and when it is
    done the call goes on to report what it did: a time-out would be told to try again.

    Args:
        closing: What ends the transaction.
        seconds: How long to wait for it after a cancellation.

    Raises:
        asyncio.CancelledError: The call was cancelled and the database did not answer in time,
            or the call was cancelled again; `closing` is cancelled and its end is not known.

    Example:
        ```python
        await to_the_end(transaction.commit())
        ```
    """
    task = asyncio.ensure_future(closing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_take_notice)
        if task.done():
            return task.result()
        raise


def _take_notice(task: asyncio.Task[Any]) -> None:
    """Keeps asyncio from reporting a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
