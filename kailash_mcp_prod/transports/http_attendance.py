"""What a request over HTTP needs beside its answer, if that takes a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.delays import Waiting
from kailash_mcp_prod.protocol import CancelScope, Revocations
from kailash_mcp_prod.transports.asgi import wait_for_disconnect
from kailash_mcp_prod.transports.http_exchange import Exchange

ATTEND_SECONDS: Final = 0.02
"""How long a while is."""

_WATCH: Final = "watch-for-disconnect"


class Attendance:
    """What a request needs that takes a while: most are answered before any of it begins.

    Args:
        exchange: The request.
        soon: Waits for the time after which it begins.
        stream_after: After how many seconds its answer becomes a stream; `None` for never.
        begin: Makes it one.
        gone: Called when the client disconnects, which in the new era is its way to cancel.
    """

    __slots__ = (
        "_begin",
        "_credential",
        "_exchange",
        "_forget_credential",
        "_gone",
        "_soon",
        "_stream_after",
        "_tasks",
        "_timer",
        "_under_way",
        "revoked",
    )

    def __init__(
        self,
        exchange: Exchange,
        soon: Waiting,
        stream_after: float | None,
        begin: Callable[[], Awaitable[None]],
        gone: Callable[[], None] | None,
    ) -> None:
        self._exchange = exchange
        self._stream_after = stream_after
        self._begin = begin
        self._gone = gone
        self._soon = soon
        self._tasks: list[asyncio.Task[None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = False
        self._credential: tuple[Revocations, Principal, CancelScope] | None = None
        self._forget_credential: Callable[[], None] | None = None
        self.revoked = False

    def wait(self) -> None:
        """Begin, unless the request is answered before."""
        self._soon.add(self)

    def end_with_credential(
        self, revocations: Revocations | None, principal: Principal, scope: CancelScope
    ) -> None:
        """Cancel the scope, and note it in `revoked`, if the credential is revoked meanwhile."""
        if revocations is not None:
            self._credential = revocations, principal, scope

    def forget(self) -> None:
        """Begin nothing any more; a stream that is under way goes on."""
        self._soon.discard(self)
        if self._tasks is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._forget_credential is not None:
            self._forget_credential()
        for task in self._tasks:
            if task.get_name() == _WATCH or not self._under_way:
                task.cancel()

    def late(self) -> None:
        """Attend to the request: it takes a while."""
        self._tasks = []
        loop = self._exchange.loop
        if self._gone is not None:
            self._tasks.append(loop.create_task(self._watch(self._gone), name=_WATCH))
        if self._credential is not None:
            revocations, principal, _ = self._credential
            self._forget_credential = revocations.on_revoked(principal, self._revoke)
        if self._stream_after is not None:
            rest = max(self._stream_after - ATTEND_SECONDS, 0)
            self._timer = loop.call_later(rest, self._start)

    def _revoke(self) -> None:
        if self._credential is not None:
            self.revoked = True
            self._credential[2].cancel()

    async def _watch(self, gone: Callable[[], None]) -> None:
        await wait_for_disconnect(self._exchange.receive)
        gone()

    def _start(self) -> None:
        assert self._tasks is not None  # noqa: S101 - set before the timer is
        self._tasks.append(self._exchange.loop.create_task(self._run()))

    async def _run(self) -> None:
        self._under_way = True
        # A lost client is noticed by those who send the answer.
        with suppress(OSError):
            await self._begin()
