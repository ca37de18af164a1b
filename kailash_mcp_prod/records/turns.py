"""Whose turn it is where calls of several callers wait for the same thing."""

from __future__ import annotations

from collections import OrderedDict, deque
from contextvars import ContextVar
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

caller: ContextVar[str] = ContextVar("caller", default="")
"""Who makes the call that is running."""


class FairQueue(Generic[T]):
    """What waits, in the order in which it came, but callers take turns; threads may share it."""

    def __init__(self) -> None:
        self._of_callers: OrderedDict[str, deque[T]] = OrderedDict()
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._of_callers)

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._of_callers.values()))

    def append(self, item: T) -> None:
        """Adds something of the caller whose call is running."""
        name = caller.get()
        with self._lock:
            waiting = self._of_callers.get(name)
            if waiting is None:
                self._of_callers[name] = deque((item,))
            else:
                waiting.append(item)

    def popleft(self) -> T:
        """Takes the first of whoever is next.

        Raises:
            IndexError: Nothing waits.
        """
        with self._lock:
            if not self._of_callers:
                raise IndexError
            name, waiting = next(iter(self._of_callers.items()))
            item = waiting.popleft()
            if not waiting:
                del self._of_callers[name]
            elif len(self._of_callers) > 1:
                self._of_callers.move_to_end(name)
            return item
