"""Tells those who listen that a workspace has changed, be it here or on another replica.

Replicas tell each other through Redis. Without it, and in case a word of it was lost, they look in
the state: one query for all workspaces, and only while somebody listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.sessions.collaboration_channel import Channel
from kailash_mcp_prod.sessions.identity import owner_digest

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.collaboration_store import WorkspaceStore

log = get_logger(__name__)

Audience = Callable[[Principal], bool]
Listener = Callable[[Sequence[str], Audience], None]

URI_PREFIX: Final = "collaboration://"
LOOK_SECONDS: Final = 0.4
_LOOK_SECONDS_WITH_REDIS: Final = 5.0
_JUST_NOW_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.5
_MOST_WAITING: Final = 10_000


class WorkspaceNews:
    """Spreads the news of changed workspaces to their members.

    Args:
        store: Opens the workspaces.
        redis: What other replicas hear of them through; `None` where there is none.
    """

    def __init__(
        self, store: Callable[[], Awaitable[WorkspaceStore]], redis: RedisConnection | None
    ) -> None:
        self._store = store
        self._channel = None if redis is None else Channel(redis, "workspaces")
        self._name = uuid4().hex
        self._listeners: dict[object, Listener] = {}
        self._untold: set[str] = set()
        self._arrived: set[str] = set()
        self._known: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._teller: asyncio.Task[None] | None = None
        self._spreader: asyncio.Task[None] | None = None
        self._watchers: tuple[asyncio.Task[None], ...] = ()
        self._ending: set[asyncio.Task[None]] = set()

    def changed(self, workspace_id: str) -> None:
        """Takes note that a workspace was changed here."""
        self._arrive([workspace_id])
        if self._channel is not None and len(self._untold) < _MOST_WAITING:
            self._untold.add(workspace_id)
            if self._teller is None:
                self._teller = asyncio.create_task(self._tell(), name="workspace-teller")

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls the listener with the URI of each workspace that changes, and who may hear of it.

        What it returns ends that. To be called on the server's event loop.
        """
        key = object()
        self._listeners[key] = listener
        if not self._watchers:
            self._watchers = (asyncio.create_task(self._look(), name="workspace-watcher"),)
            if self._channel is not None:
                hearing = asyncio.create_task(self._hear(self._channel), name="workspace-hearer")
                self._watchers = (*self._watchers, hearing)
        return lambda: self._unsubscribe(key)

    async def stop(self) -> None:
        """Ends all that runs."""
        if self._teller is not None:
            # What was changed last is still told.
            await asyncio.wait({self._teller}, timeout=_AGAIN_SECONDS)
        running = {*self._watchers, *self._ending, self._teller, self._spreader}
        self._watchers, self._teller, self._spreader = (), None, None
        tasks = {task for task in running if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._listeners.clear()
        self._known.clear()
        self._told.clear()
        self._arrived.clear()
        self._untold.clear()

    def _unsubscribe(self, key: object) -> None:
        self._listeners.pop(key, None)
        if not self._listeners:
            watchers, self._watchers = self._watchers, ()
            for task in watchers:
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
            self._known.clear()
            self._told.clear()

    def _arrive(self, workspace_ids: Collection[str]) -> None:
        """Takes note of changed workspaces, if somebody listens."""
        if not self._listeners or not workspace_ids:
            return
        if len(self._arrived) < _MOST_WAITING:
            self._arrived.update(workspace_ids)
        if self._spreader is None:
            self._spreader = asyncio.create_task(self._spread(), name="workspace-spreader")

    async def _spread(self) -> None:
        """Tells the listeners, as long as there is news: of all that have come with one query."""
        try:
            while self._arrived and self._listeners:
                taken, self._arrived = self._arrived, set()
                if len(self._told) > _MOST_WAITING:
                    self._told.clear()
                try:
                    found = await (await self._store()).members_of(taken)
                except ServerError as failure:
                    log.warning("collaboration_news_wait", code=failure.code)
                    self._arrived |= taken
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                for workspace_id, (revision, owners) in found.items():
                    # It may be heard of in several ways.
                    if self._told.get(workspace_id) == revision:
                        continue
                    self._told[workspace_id] = revision
                    audience = _audience(owners)
                    for listener in tuple(self._listeners.values()):
                        listener([f"{URI_PREFIX}{workspace_id}"], audience)
        finally:
            self._spreader = None

    async def _tell(self) -> None:
        """Tells other replicas, as long as there is something to tell."""
        assert self._channel is not None  # noqa: S101 - otherwise nobody starts this
        try:
            while self._untold:
                taken, self._untold = self._untold, set()
                # Where Redis is away, the others look for themselves.
                with suppress(RedisDownError):
                    await self._channel.publish([f"{self._name}:{each}" for each in taken])
        finally:
            self._teller = None

    async def _hear(self, channel: Channel) -> None:
        """Hears what other replicas tell."""
        async for text in channel.messages():
            sender, _, workspace_id = text.partition(":")
            if sender != self._name:
                self._arrive([workspace_id])

    async def _look(self) -> None:
        """Looks in the state for what was not told."""
        first = True
        while True:
            try:
                found = await (await self._store()).lately()
            except ServerError as failure:
                log.warning("collaboration_news_wait", code=failure.code)
            else:
                self._arrive(
                    [
                        workspace_id
                        for workspace_id, (revision, ago) in found.items()
                        if self._known.get(workspace_id) != revision
                        # When somebody begins to listen, what was before is no news.
                        and not (first and ago > _JUST_NOW_SECONDS)
                    ]
                )
                self._known = {key: revision for key, (revision, _) in found.items()}
                first = False
            hears = self._channel is not None and self._channel.hears
            await asyncio.sleep(_LOOK_SECONDS_WITH_REDIS if hears else LOOK_SECONDS)


def _audience(owners: frozenset[str]) -> Audience:
    return lambda principal: owner_digest(principal) in owners
