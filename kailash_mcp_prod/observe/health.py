"""The report on health: how the server is, and each of its components."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNHEALTHY: Final = "unhealthy"
DRAINING: Final = "draining"

CHECK_SECONDS: Final = 0.8
"""How long a component may take to answer."""
KNOWN_SECONDS: Final = 1.0
"""For how long what it has answered is taken to hold, from when it was asked."""

_LATE: Final = {"status": UNHEALTHY, "reason": "It does not answer in time."}

Component = Mapping[str, Any]
Components = Mapping[str, Component]
Check = Callable[[], Awaitable[Component | None]]
"""Finds out how a component is; `None` where there is none."""


class CachedCheck:
    """Asks how a component is, at most once a second; all who ask meanwhile get one answer.

    Args:
        name: Whose state it is.
        check: Finds it out.
        seconds: After how long no answer is one too.
    """

    def __init__(self, name: str, check: Check, *, seconds: float = CHECK_SECONDS) -> None:
        self._name = name
        self._check = check
        self._seconds = seconds
        self._asked_at = -math.inf
        self._asking: asyncio.Task[Component | None] | None = None
        self._running: asyncio.Future[Component | None] | None = None

    async def state(self) -> Component | None:
        """`status` and what else there is to say."""
        now = time.monotonic()
        asking = self._asking
        if asking is None or (asking.done() and now - self._asked_at >= KNOWN_SECONDS):
            self._asked_at = now
            asking = self._asking = asyncio.create_task(self._ask(), name=f"health-{self._name}")
        # Whoever asks may be cancelled; the others still want the answer.
        return await asyncio.shield(asking)

    async def stop(self) -> None:
        """Ends what runs; who asks later asks anew, on whatever event loop."""
        asking, self._asking = self._asking, None
        if asking is not None and not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
        running, self._running = self._running, None
        if running is not None and not running.done():
            running.cancel()
            await asyncio.wait({running}, timeout=self._seconds)

    async def _ask(self) -> Component | None:
        until = time.monotonic() + self._seconds
        if not await self._ends(until):
            return _LATE
        self._running = asyncio.ensure_future(self._check())
        if not await self._ends(until):
            # Not waited for: a driver whose server hangs takes seconds to give up.
            self._running.add_done_callback(_forget)
            self._running.cancel()
            return _LATE
        try:
            return self._running.result()
        except Exception:
            # Whatever is wrong with one component, the others are still reported.
            log.exception("health_check_broke", component=self._name)
            return {"status": UNHEALTHY, "reason": "It can't be checked; the log says why."}

    async def _ends(self, until: float) -> bool:
        """Whether the check that runs, if one does, ends by then."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running}, timeout=max(0, until - time.monotonic()))
        return self._running is None or self._running.done()


class Health:
    """Asks all components at once and puts their answers together.

    Args:
        needed: What the server can't work without, by name.
        others: What it can do without for a while: it is degraded then.
        known: Further ones of those whose state is known without asking.
        is_draining: Whether the server is shutting down, and so wants no more clients.

    Example:
        ```python
        health = Health({"database": ask_the_database}, {}, dict, lambda: False)
        (await health.report())["components"]["database"]["status"]
        ```
    """

    def __init__(
        self,
        needed: Mapping[str, Check],
        others: Mapping[str, Check],
        known: Callable[[], Components],
        is_draining: Callable[[], bool],
    ) -> None:
        self._needed = {name: CachedCheck(name, check) for name, check in needed.items()}
        self._others = {name: CachedCheck(name, check) for name, check in others.items()}
        self._known = known
        self._is_draining = is_draining

    async def report(self) -> dict[str, Any]:
        """`health_status` (`healthy`, `degraded`, `unhealthy`, `draining`) and `components`."""
        components = await _ask_all({**self._needed, **self._others})
        # Afterwards, because a failed answer may have changed what is known.
        components.update(self._known())
        return {"health_status": self._status(components), "components": components}

    async def brief(self) -> dict[str, Any]:
        """The same without anything but words of status: for whoever shows no credential."""
        return _words(await self.report())

    async def ready(self) -> dict[str, Any]:
        """Whether clients should be sent here: only what is needed is asked, in words of status."""
        components = await _ask_all(self._needed)
        return _words({"health_status": self._status(components), "components": components})

    async def stop(self) -> None:
        """Ends the checks that run."""
        for each in (*self._needed.values(), *self._others.values()):
            await each.stop()

    def _status(self, components: Components) -> str:
        if self._is_draining():
            return DRAINING
        if any(components[name]["status"] == UNHEALTHY for name in self._needed):
            return UNHEALTHY
        well = all(each["status"] == HEALTHY for each in components.values())
        return HEALTHY if well else DEGRADED


def _forget(late: asyncio.Future[Component | None]) -> None:
    """Takes note of a failure that nobody waits for any more."""
    if not late.cancelled():
        late.exception()


async def _ask_all(checks: Mapping[str, CachedCheck]) -> dict[str, Component]:
    states = await asyncio.gather(*(each.state() for each in checks.values()))
    return {name: state for name, state in zip(checks, states, strict=True) if state is not None}


def _words(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "health_status": report["health_status"],
        "components": {
            name: {"status": each["status"]} for name, each in report["components"].items()
        },
    }
