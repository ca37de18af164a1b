"""Calls that go on after their request was answered: the tasks extension of 2026-07-28.

A call becomes a task when its tool says that it will take long (`Peer.defer`), or when it does.
Only clients that declare the extension ever get one. Tasks live in this process.

Source: the extension `io.modelcontextprotocol/tasks` (SEP-2663).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Owner
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol.deferral import Ask, Deferral
from kailash_mcp_prod.protocol.faults import INTERNAL_ERROR, RpcError

TTL_MS: Final = 600_000
POLL_MS: Final = 500
MAX_TASKS: Final = 1000
MAX_PRINCIPAL_TASKS: Final = 100


class Task:
    """A call that goes on.

    Args:
        owner: Whose it is.
        work: Gives the result that the request would have had.
        deferral: What the call asks of its client, and how far it is.
        clock: Unix time.
        slot: Where it is among the workers of a machine; its id begins with that.
    """

    def __init__(
        self,
        owner: Owner,
        work: asyncio.Task[dict[str, Any]],
        deferral: Deferral,
        clock: Callable[[], float],
        slot: int = 0,
    ) -> None:
        self.id = f"{slot}-{secrets.token_urlsafe(24)}"
        self.owner = owner
        self._work = work
        self._deferral = deferral
        self._clock = clock
        self._cancelled = False
        self.created_at = self.updated_at = clock()
        deferral.on_news(self._touch)
        work.add_done_callback(self._ended)

    @property
    def ended(self) -> bool:
        """Whether its state will not change any more."""
        return self._work.done() or self._cancelled

    @property
    def status(self) -> str:
        """`working`, `input_required`, `completed`, `failed` or `cancelled`."""
        if self._cancelled or (self._work.done() and self._work.cancelled()):
            return "cancelled"
        if not self._work.done():
            return "input_required" if self._deferral.open else "working"
        return "completed" if self._work.exception() is None else "failed"

    def summary(self) -> dict[str, Any]:
        """The members that a new task has too."""
        described: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": _timestamp(self.created_at),
            "lastUpdatedAt": _timestamp(self.updated_at),
            "ttlMs": TTL_MS,
            "pollIntervalMs": POLL_MS,
        }
        if self._deferral.message is not None:
            described["statusMessage"] = self._deferral.message
        return described

    def to_dict(self) -> dict[str, Any]:
        """All of it: with its result, its error, or what it asks."""
        described = self.summary()
        match described["status"]:
            case "completed":
                described["result"] = {"resultType": "complete", **self._work.result()}
            case "failed":
                described["error"] = _error_of(self._work.exception())
            case "input_required":
                asked: Mapping[str, Ask] = self._deferral.open
                described["inputRequests"] = {key: ask.to_dict() for key, ask in asked.items()}
        return described

    def answer(self, answers: Mapping[str, Any]) -> None:
        """Hand the client's answers over; those that nobody asked for are ignored."""
        if not self.ended:
            self._deferral.answer(answers)

    def cancel(self) -> None:
        """End it, if it has not ended."""
        if not self.ended:
            self._cancelled = True
            self._work.cancel()
            self._touch()

    def _ended(self, work: asyncio.Task[dict[str, Any]]) -> None:
        if not work.cancelled():
            # Looked at, so that a failure which nobody asks for is not complained of.
            work.exception()
        self._touch()

    def _touch(self) -> None:
        self.updated_at = self._clock()


class TaskStore:
    """The tasks of all principals, for as long as they are good for.

    Args:
        clock: Unix time.
        slot: The place of this process among the workers of its machine.
    """

    def __init__(self, clock: Callable[[], float] = time.time, slot: int = 0) -> None:
        self._clock = clock
        self._slot = slot
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def adopt(self, owner: Owner, work: asyncio.Task[dict[str, Any]], deferral: Deferral) -> Task:
        """Make work that is under way a task.

        Raises:
            OverloadedError: There are too many that have not ended.
        """
        self._forget()
        if self._of(owner) >= MAX_PRINCIPAL_TASKS:
            self._forget_ended(owner)
        own = self._of(owner)
        if own >= MAX_PRINCIPAL_TASKS or len(self._tasks) >= MAX_TASKS:
            raise OverloadedError("Too many tasks are under way; wait for some to end.")
        task = Task(owner, work, deferral, self._clock, self._slot)
        self._tasks[task.id] = task
        return task

    def find(self, owner: Owner, task_id: str) -> Task | None:
        """The task of this id, unless it is somebody else's or has been forgotten."""
        self._forget()
        task = self._tasks.get(task_id)
        return task if task is not None and task.owner == owner else None

    def cancel_all(self) -> None:
        """End every task, because the server stops."""
        for task in self._tasks.values():
            task.cancel()

    def _of(self, owner: Owner) -> int:
        # Of all its credentials together, so that another token makes no more room.
        return sum(task.owner[0] == owner[0] for task in self._tasks.values())

    def _forget_ended(self, owner: Owner) -> None:
        """The longest ended task of its owner goes, to make room for one that is under way."""
        ended = [task for task in self._tasks.values() if task.owner[0] == owner[0] and task.ended]
        if ended:
            del self._tasks[min(ended, key=lambda task: task.updated_at).id]

    def _forget(self) -> None:
        """Those that ended a while ago go, and of too many that have ended, the oldest."""
        before = self._clock() - TTL_MS / 1000
        for id_, task in tuple(self._tasks.items()):
            full = len(self._tasks) >= MAX_TASKS
            if task.ended and (full or task.updated_at < before):
                del self._tasks[id_]


def _error_of(failure: BaseException | None) -> dict[str, Any]:
    if not isinstance(failure, RpcError):
        return {"code": INTERNAL_ERROR, "message": "Internal error; the server's log has it."}
    error = {"code": failure.code, "message": failure.message}
    return error if failure.data is None else {**error, "data": failure.data}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
