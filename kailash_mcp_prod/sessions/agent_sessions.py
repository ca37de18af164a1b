"""`AgentSessions`: the sessions of a server, and the calls that are made in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import Interruption, NotFoundError, ServerError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.completion import to_the_end
from kailash_mcp_prod.sessions.agent_tools import agent_session_tools
from kailash_mcp_prod.sessions.agent_values import Activity, Figures, Owned
from kailash_mcp_prod.sessions.arguments import looked_up
from kailash_mcp_prod.sessions.identity import owner_digest
from kailash_mcp_prod.sessions.opening import Opened
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.claimed_session import SESSION_ARGUMENT
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.agent_store import AgentSessionStore

log = get_logger(__name__)

FLUSH_SECONDS: Final = 0.5
_MOST_PENDING: Final = 20_000
_STORE: Final = "kailash_mcp_prod.sessions.agent_store"


class AgentSessions:
    """The agent sessions; a `Part`, and what `ToolService` asks about `_session_id`.

    What calls a session has made is added up in memory and stored twice a second at most, so that
    a call does not cost a write.

    Args:
        state: Where the sessions are.
        timeout_seconds: How long one lasts without a call.
        may_create: Whether the table may be made.
        clock: Unix seconds.
    """

    def __init__(
        self,
        state: State,
        *,
        timeout_seconds: float,
        may_create: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self._clock = clock
        self._opened: Opened[AgentSessionStore] = Opened(
            state,
            _STORE,
            lambda module, database: module.AgentSessionStore(database, timeout_seconds, clock),
            may_create=may_create,
        )
        self._pending: dict[Owned, Activity] = {}
        self._flushing = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def tools(self) -> Iterable[ToolSpec]:
        """The tools over the sessions."""
        return agent_session_tools(self)

    async def start(self) -> None:
        """Nothing runs until a session is used."""
        self._flushing = asyncio.Lock()
        self._hurry = asyncio.Event()

    async def stop(self) -> None:
        """Stores what is not stored yet."""
        if self._flusher is not None:
            # Not cancelled: nobody could tell whether what it was storing is stored.
            self._hurry.set()
            await asyncio.wait({self._flusher})
        try:
            await self.flush()
        except ServerError as failure:
            log.warning("session_activity_lost", sessions=len(self._pending), code=failure.code)
        self._pending.clear()
        self._opened.close()

    async def store(self) -> AgentSessionStore:
        """The sessions in the state.

        Raises:
            UnavailableError: The database does not answer, or is not prepared.
        """
        return await self._opened.get()

    @asynccontextmanager
    async def counting(self, principal: Principal, session_id: str) -> AsyncIterator[None]:
        """Stands around a call that names a session as `_session_id`, and counts it there.

        Raises:
            NotFoundError: The principal has no such session.
        """
        store, owner = await self.store(), owner_digest(principal)
        if not await store.has(owner, looked_up(session_id)):
            from kailash_mcp_prod.sessions.agent_store import gone

            raise gone(SESSION_ARGUMENT)
        async with self._noting((owner, session_id)):
            yield

    @asynccontextmanager
    async def touching(self, call: ToolCall, session_id: str) -> AsyncIterator[None]:
        """Stands around a call of a tool that works on a session, and counts it there.

        A session that turns out not to be there is not counted.
        """
        if call.session_id == session_id:
            # Counted already.
            yield
            return
        owned = owner_digest(call.principal), session_id
        async with self._noting(owned, unless=NotFoundError):
            yield

    @asynccontextmanager
    async def _noting(
        self, owned: Owned, unless: type[Exception] = Interruption
    ) -> AsyncIterator[None]:
        began = time.monotonic()
        failed, counts = True, True
        try:
            yield
            failed = False
        except (Interruption, unless):
            # A call that is interrupted goes on as another one.
            counts = False
            raise
        finally:
            if counts:
                self._note(owned, failed, (time.monotonic() - began) * 1000)

    def _note(self, owned: Owned, failed: bool, took_ms: float) -> None:
        if owned not in self._pending and len(self._pending) >= _MOST_PENDING:
            return
        figures = Figures(1, int(failed), took_ms, took_ms)
        activity = Activity(figures, self._clock())
        earlier = self._pending.get(owned)
        self._pending[owned] = activity if earlier is None else earlier.and_then(activity)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._keep_flushing(), name="session-activity")

    async def settle(self, principal: Principal, session_ids: Iterable[str]) -> None:
        """Stores what these sessions of a principal have done here, so that it can be read."""
        owner = owner_digest(principal)
        if self._flushing.locked() or any((owner, each) in self._pending for each in session_ids):
            # To its end, even if the call that asks is cancelled.
            await to_the_end(self.flush())

    async def flush(self) -> None:
        """Stores what is not stored yet.

        Raises:
            UnavailableError: The database does not answer; it is kept for later.
        """
        async with self._flushing:
            if not self._pending:
                return
            taken, self._pending = self._pending, {}
            try:
                await (await self.store()).add(taken)
            except ServerError:
                self._put_back(taken)
                raise

    def _put_back(self, taken: Mapping[Owned, Activity]) -> None:
        since, self._pending = self._pending, dict(taken)
        for owned, later in since.items():
            earlier = taken.get(owned)
            self._pending[owned] = later if earlier is None else earlier.and_then(later)

    async def _keep_flushing(self) -> None:
        try:
            while self._pending and not self._hurry.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_SECONDS):
                        await self._hurry.wait()
                try:
                    await self.flush()
                except ServerError as failure:
                    log.warning("session_activity_waits", code=failure.code)
        finally:
            self._flusher = None
