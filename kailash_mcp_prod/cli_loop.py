"""How a process serves: on uvloop where it is installed, with a garbage collector set for that."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine as `asyncio.run` does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def settle_garbage_collector() -> None:
    """Takes what the start has made out of later collections, and makes those rarer.

    Looking through it again would hold every call up to 0.1 s; it stays anyway. For processes that
    do nothing but serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
