"""Long work in short stretches, so that the event loop stays free for others.

Work is written as a generator that yields wherever it may pause, and returns its result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Steps = Generator[None, None, R]

STEP_ROWS = 16
"""How many rows a step takes: with 40 columns well under a millisecond."""

MAX_STRETCH_SECONDS = 0.004


def straight(steps: Steps[R]) -> R:
    """Does the work in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


async def paced(steps: Steps[R]) -> R:
    """Does the work, and lets other tasks run whenever it has held the loop for 4 ms."""
    began = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        if time.perf_counter() - began > MAX_STRETCH_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()


def mapped(function: Callable[[T], R], items: Sequence[T]) -> Steps[list[R]]:
    """The function's result for each item, a few items to a step."""
    return in_steps(lambda some: map(function, some), items)


def in_steps(function: Callable[[Sequence[T]], Iterable[R]], items: Sequence[T]) -> Steps[list[R]]:
    """The results of a function that takes a few items at once, in order."""
    results: list[R] = []
    for start in range(0, len(items), STEP_ROWS):
        results.extend(function(items[start : start + STEP_ROWS]))
        yield
    return results
