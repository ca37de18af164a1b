"""The course of one step that runs: the session it belongs to, and how its results are kept."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.store import Transaction
from kailash_mcp_prod.sessions.workflow_state import (
    MAX_RESULT_BYTES,
    Session,
    Step,
    moved_on,
    require_room,
)
from kailash_mcp_prod.sessions.workflow_store import LEASE_SECONDS, WorkflowStore
from kailash_mcp_prod.tools.spec import ToolCall

NO_WRITE: Final = "-"
"""In the place of what a step has read: it has changed nothing itself."""


@dataclass(slots=True)
class Course:
    """What the parts of a step share.

    `session` moves on with what is stored, and `later` has the parts that were stored since.
    `holder` is the running step that holds the session by the `token`, if the step takes more than
    one transaction.
    """

    call: ToolCall
    store: WorkflowStore
    session: Session
    caching_seconds: float | None
    holder: Step | None = None
    told: int = 0
    later: dict[str, Step] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def key(self, path: str) -> str:
        """The idempotency key of what a step does."""
        text = msgspec.json.encode([self.session.id, path])
        return f"workflow-step-{hashlib.sha256(text).hexdigest()}"

    def part(self, path: str) -> Step | None:
        """A part as it was left by an earlier run of the step."""
        return self.later.get(path) or self.session.steps.get(path)

    def remembered(self, call: str) -> Step | None:
        """An earlier step that has read just that, if nothing was written since."""
        if self.caching_seconds is None:
            return None
        since = self.store.clock() - self.caching_seconds
        steps = [*self.session.steps.values(), *self.later.values()]
        done = [each for each in steps if each.status == "done" and each.finished_at]
        written = max((each.finished_at or 0 for each in done if each.call is None), default=0)
        return next(
            (
                each
                for each in done
                if each.call == call
                and each.result is not None
                and (each.finished_at or 0) > max(since, written)
            ),
            None,
        )

    async def tell(self, total: int, message: str) -> None:
        """Tells the client of one more part that is done."""
        self.told += 1
        await self.call.peer.progress(self.told, max(total, self.told), message)


class Keeper(Protocol):
    """Keeps the result of a step.

    Within a transaction it may be asked again, when the first one was undone. `settle` says that
    what was kept last is stored.
    """

    async def __call__(
        self, result: Any, *, call: str | None, within: Transaction | None = None
    ) -> None:
        """Stores the result.

        Args:
            result: A JSON value.
            call: What the step has read; `None` if it may have changed something.
            within: The transaction of the change.
        """

    def settle(self) -> None:
        """The course goes on from what was kept."""


class TopKeeper:
    """Keeps a step of the session.

    Args:
        course: Its course; its session moves on.
        step: The step as it began.
        keeps_result: Whether its result is kept, for which there has to be room.
    """

    def __init__(self, course: Course, step: Step, *, keeps_result: bool = True) -> None:
        self._course = course
        self._step = step
        self._before = self._after = course.session
        self._keeps_result = keeps_result

    async def __call__(
        self, result: Any, *, call: str | None, within: Transaction | None = None
    ) -> None:
        """See `Keeper`."""
        course = self._course
        done = _done(self._step, result, call, course.store.clock())
        if not self._keeps_result:
            done = replace(done, result=None)
        self._after = await course.store.put(self._before, done, within=within)

    def settle(self) -> None:
        """See `Keeper`."""
        self._course.session = self._after


class PartKeeper:
    """Keeps a step inside the one that holds the session.

    Args:
        course: The course of the whole.
        step: The part as it began.
    """

    def __init__(self, course: Course, step: Step) -> None:
        self._course = course
        self._step = self._done = step
        self._size = 0

    async def __call__(
        self, result: Any, *, call: str | None, within: Transaction | None = None
    ) -> None:
        """See `Keeper`."""
        course, holder = self._course, self._course.holder
        assert holder is not None  # noqa: S101 - parts run in a held step only
        self._done = _done(self._step, result, call, course.store.clock())
        # What is too long to be kept is in the memory for as long as the whole step runs.
        self._size = (
            self._done.size if self._done.result is not None else len(msgspec.json.encode(result))
        )
        require_room(course.session.result_bytes + self._size)
        await course.store.put_part(course.session.id, self._done, holder, within=within)

    def settle(self) -> None:
        """See `Keeper`."""
        course = self._course
        course.later[self._done.path] = self._done
        course.session = replace(
            course.session, result_bytes=course.session.result_bytes + self._size
        )


def _done(step: Step, result: Any, call: str | None, now: float) -> Step:
    kept = msgspec.json.encode(result)
    return replace(
        step,
        status="done",
        result=kept if len(kept) <= MAX_RESULT_BYTES else None,
        error=None,
        call=call,
        lease_until=0,
        finished_at=now,
    )


@asynccontextmanager
async def holding(course: Course, step: Step) -> AsyncIterator[None]:
    """Goes on holding a step while the block runs, and lets go of it when that fails.

    Raises:
        MovedOnError: Somebody else has taken it over.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    lost = False

    async def renew() -> None:
        nonlocal lost
        until = asyncio.get_running_loop().time() + LEASE_SECONDS
        while not lost:
            await asyncio.sleep(LEASE_SECONDS / 4)
            began = asyncio.get_running_loop().time()
            try:
                lost = not await course.store.hold(course.session.id, step)
                until = began + LEASE_SECONDS
            except ServerError:
                lost = asyncio.get_running_loop().time() > until
        task.cancel()

    earlier = task.cancelling()
    course.holder = step
    renewing = asyncio.create_task(renew(), name="workflow-step-lease")
    try:
        yield
    except BaseException as failure:
        if lost and task.uncancel() <= earlier and isinstance(failure, asyncio.CancelledError):
            raise moved_on() from None
        if not isinstance(failure, ServerError):
            # Cancelled, or it has to ask first: whoever comes next need not wait.
            with suppress(ServerError, TimeoutError):
                async with asyncio.timeout(LEASE_SECONDS):
                    await asyncio.shield(course.store.release(course.session.id, step))
        raise
    finally:
        course.holder = None
        renewing.cancel()
        await asyncio.wait({renewing})


def read_digest(tool: str, arguments: Mapping[str, Any]) -> str:
    """A name for what a call reads."""
    text = msgspec.json.encode([tool, arguments], order="sorted")
    return hashlib.sha256(text).hexdigest()
