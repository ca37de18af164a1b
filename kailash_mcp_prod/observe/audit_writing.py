"""Group commit: entries that come while others are being stored are stored together, next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.observe.audit_chain import Draft
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

MAX_WAITING: Final = 10_000
"""As many entries may wait for the database; then no more writes begin."""

_TOGETHER: Final = 256
_ATTEMPT_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0


class _Waiting:
    """An entry that is not stored yet, and who waits for that."""

    __slots__ = ("draft", "stored")

    def __init__(self, draft: Draft, stored: asyncio.Future[bool] | None) -> None:
        self.draft = draft
        self.stored = stored

    def tell(self, *, stored: bool) -> None:
        """Says whether it is stored; once."""
        if self.stored is not None and not self.stored.done():
            self.stored.set_result(stored)
        self.stored = None


class AuditWriter:
    """Stores entries in the order in which they come, many at once.

    What can't be stored stays, and is tried again until it is.

    Args:
        append: Stores entries, all or none.
    """

    def __init__(self, append: Callable[[Sequence[Draft]], Awaitable[None]]) -> None:
        self._append = append
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def backlog(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more may be added."""
        return len(self._waiting) >= MAX_WAITING

    @property
    def is_failing(self) -> bool:
        """Whether the database did not take the entries when it was last asked."""
        return self._failing

    def put(self, draft: Draft) -> None:
        """Stores an entry soon."""
        self._add(_Waiting(draft, None))

    async def keep(self, draft: Draft) -> bool:
        """Stores an entry; whether it is stored now. If not, it is tried again later.

        An entry of a cancelled call is stored all the same.
        """
        stored = asyncio.get_running_loop().create_future()
        self._add(_Waiting(draft, stored))
        kept: bool = await stored
        return kept

    async def close(self, seconds: float) -> None:
        """Stores what waits, as far as that is done in this time."""
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if self._waiting:
            log.error("audit_entries_lost", count=len(self._waiting))
            self._tell_all(stored=False)
            self._waiting.clear()

    def _add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._task is None:
            self._task = asyncio.create_task(self._store(), name="audit-writer")

    async def _store(self) -> None:
        """Stores what waits, until nothing does."""
        try:
            while self._waiting:
                batch = [self._waiting[at] for at in range(min(_TOGETHER, len(self._waiting)))]
                await self._store_batch([each.draft for each in batch])
                for each in batch:
                    self._waiting.popleft()
                    each.tell(stored=True)
        finally:
            self._task = None

    async def _store_batch(self, drafts: Sequence[Draft]) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with asyncio.timeout(_ATTEMPT_SECONDS):
                    await self._append(drafts)
            except (ServerError, TimeoutError) as failure:
                self._failed(type(failure).__name__)
            except Exception:
                # Whatever it is: an entry is not given up because of it.
                log.exception("audit_broke")
                self._failed("defect")
            else:
                if self._failing:
                    log.info("audit_stored_again")
                self._failing = False
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _failed(self, reason: str) -> None:
        if not self._failing:
            log.warning("audit_not_stored", reason=reason, waiting=len(self._waiting))
        self._failing = True
        self._tell_all(stored=False)

    def _tell_all(self, *, stored: bool) -> None:
        for each in self._waiting:
            each.tell(stored=stored)
