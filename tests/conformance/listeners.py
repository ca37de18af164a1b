"""Who wants to hear of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Listeners:
    def __init__(self) -> None:
        self._listeners: list[Callable[..., None]] = []

    def add(self, listener: Callable[..., None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, *news: Any) -> None:
        for listener in tuple(self._listeners):
            listener(*news)
