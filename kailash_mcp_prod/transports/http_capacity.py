"""How much runs at once, and the means to wait for its end or to cut it short."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Protocol, Self

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol import CancelScope, Revocations

_LET_GO_SECONDS: Final = 0.25
_GIVE_UP_SECONDS: Final = 0.1


class Owed(Protocol):
    """A request that has to be answered, whatever becomes of the work for it."""

    async def give_up(self) -> None:
        """Answer it in place of that work, unless it is answered."""
        ...


class _Places:
    """A number of places, of which one principal with a credential may have a share."""

    __slots__ = ("_free", "_owned", "_refusal", "_share")

    def __init__(self, count: int, share: int, refusal: str) -> None:
        self._free = count
        self._share = max(share, 1)
        self._refusal = refusal
        self._owned: Counter[str] = Counter()

    def __call__(self, principal: Principal) -> _Place:
        """A place of a principal's, entered for a block."""
        return _Place(self, principal.subject)

    def take(self, subject: str) -> None:
        """Take a place.

        Raises:
            OverloadedError: None is free, or the principal has its share.
        """
        shared = subject == ANONYMOUS.subject
        if self._free <= 0 or (not shared and self._owned[subject] >= self._share):
            raise OverloadedError(self._refusal)
        self._free -= 1
        self._owned[subject] += 1

    def give_back(self, subject: str) -> None:
        """Make a place free again."""
        self._free += 1
        self._owned[subject] -= 1
        if not self._owned[subject]:
            del self._owned[subject]


class _Place:
    __slots__ = ("_places", "_subject")

    def __init__(self, places: _Places, subject: str) -> None:
        self._places = places
        self._subject = subject

    def __enter__(self) -> None:
        self._places.take(self._subject)

    def __exit__(self, *_failure: object) -> None:
        self._places.give_back(self._subject)


class _Running(CancelScope):
    """A block of running work."""

    def __init__(
        self, capacity: Capacity, loop: asyncio.AbstractEventLoop | None, owed: Owed | None
    ) -> None:
        super().__init__(loop)
        self._capacity = capacity
        self.owed = owed

    def __enter__(self) -> Self:
        super().__enter__()
        self._capacity.begun(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._capacity.ended(self)
        return super().__exit__(exc_type, exc, traceback)


class Capacity:
    """Counts the requests and event streams of one transport.

    `request(principal)` and `stream(principal)` are entered for a block that takes a place, and
    raise `OverloadedError` when none is free. So that nobody takes all places, a principal with a
    credential has at most half of those for requests, and a quarter of those for streams.

    Args:
        requests: How many requests may run at once.
        streams: How many event streams may be open.
    """

    def __init__(self, requests: int, streams: int) -> None:
        self.request = _Places(
            requests, requests // 2, "Too many requests are running; try again later."
        )
        self.stream = _Places(
            streams, streams // 4, "Too many event streams are open; try again later."
        )
        self._running: set[_Running] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def running(
        self, loop: asyncio.AbstractEventLoop | None = None, owed: Owed | None = None
    ) -> CancelScope:
        """A block that counts as running work, which `end` reaches; see `CancelScope`.

        Args:
            loop: The running loop.
            owed: The request that the block answers, if there is one.
        """
        return _Running(self, loop, owed)

    def begun(self, scope: _Running) -> None:
        """Count a block."""
        self._running.add(scope)
        self._idle.clear()

    def ended(self, scope: _Running) -> None:
        """Count it no longer."""
        self._running.discard(scope)
        if not self._running:
            self._idle.set()

    async def end(self, seconds: float) -> None:
        """Let running work go on for that time, then cancel it.

        Of what has not let go soon after, the requests are answered in its place: their
        connections will not be there for long.
        """
        if await self.idle_within(seconds):
            return
        self.cancel_all()
        if await self.idle_within(_LET_GO_SECONDS):
            return
        owed = [scope.owed for scope in self._running if scope.owed is not None]
        if owed:
            answering = {asyncio.create_task(_answer(each)) for each in owed}
            _, slow = await asyncio.wait(answering, timeout=_GIVE_UP_SECONDS)
            for each in slow:
                each.cancel()

    def cancel_all(self) -> None:
        """Cancel all running work."""
        for scope in tuple(self._running):
            scope.cancel()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until nothing runs; false when something still does after that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


async def _answer(owed: Owed) -> None:
    # A client that has gone needs none.
    with suppress(OSError):
        await owed.give_up()


@contextmanager
def cancel_at(expires_at: float | None, scope: CancelScope) -> Iterator[None]:
    """Cancel the scope if this Unix time comes while the block runs."""
    if expires_at is None:
        yield
        return
    timer = asyncio.get_running_loop().call_later(expires_at - time.time(), scope.cancel)
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def cancel_on_revocation(
    revocations: Revocations | None, principal: Principal, scope: CancelScope
) -> Iterator[None]:
    """Cancel the scope if the principal's credential is revoked while the block runs."""
    if revocations is None:
        yield
        return
    forget = revocations.on_revoked(principal, scope.cancel)
    try:
        yield
    finally:
        forget()
