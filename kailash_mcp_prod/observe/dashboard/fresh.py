"""What is asked for again and again, looked up once a second for all who ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

SECONDS: Final = 1.0
_MOST: Final = 256


class Fresh:
    """Keeps answers for a second. Who asks meanwhile for the same waits for the same answer.

    Args:
        seconds: How long an answer is fresh.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of that key; raises what `make` raises, for all who wait for it."""
        now = self._clock()
        until, task = self._answers.get(key, (0.0, None))
        if task is None or (now >= until and task.done()):
            self._answers.pop(key, None)
            task = asyncio.create_task(_made(make))
            self._answers[key] = now + self._seconds, task
            if len(self._answers) > _MOST:
                del self._answers[next(iter(self._answers))]
        # Whoever began it may leave, and others wait for it too.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is being looked up."""
        tasks = [task for _, task in self._answers.values() if not task.done()]
        self._answers.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _made(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()
