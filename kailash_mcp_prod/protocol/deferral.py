"""The moment when a call becomes a task, and what the task asks of its client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the client: `elicitation/create`, `sampling/createMessage` or `roots/list`."""

    method: str
    params: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The MCP `InputRequest` object."""
        return {"method": self.method, "params": dict(self.params)}


class Deferral:
    """Links a call that may become a task with that task.

    `wanted` is set when the call asks to become one, and `settled` once it is known whether it has
    (`adopted`); `message` is what it last said of its progress.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.settled = asyncio.Event()
        self.adopted = False
        self.message: str | None = None
        self._asked: dict[str, tuple[Ask, asyncio.Future[Any]]] = {}
        self._listener: Callable[[], None] = lambda: None

    @property
    def open(self) -> dict[str, Ask]:
        """What the client has still to answer, by key."""
        return {key: ask for key, (ask, answer) in self._asked.items() if not answer.done()}

    def on_news(self, listener: Callable[[], None]) -> None:
        """Call back whenever what it asks or says has changed."""
        self._listener = listener

    def settle(self, *, adopted: bool) -> None:
        """Let the call go on, as a task or within its request."""
        self.adopted = adopted
        self.settled.set()

    def report(self, message: str | None) -> None:
        """Say how far the call is."""
        self.message = message
        self._listener()

    async def ask(self, asked: Mapping[str, Ask]) -> dict[str, Any]:
        """The client's answers by key, once there is one to each."""
        loop = asyncio.get_running_loop()
        waiting = {key: (ask, loop.create_future()) for key, ask in asked.items()}
        self._asked.update(waiting)
        self._listener()
        try:
            return {key: await answer for key, (_, answer) in waiting.items()}
        finally:
            for key in waiting:
                self._asked.pop(key, None)
            self._listener()

    def answer(self, answers: Mapping[str, Any]) -> None:
        """Take answers of the client; those that nobody waits for are ignored."""
        for key, given in answers.items():
            _, waiting = self._asked.get(key, (None, None))
            if waiting is not None and not waiting.done():
                waiting.set_result(given)
        self._listener()
