"""The circuit breakers of a server: one for each backend, and one for each tool that broke."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from kailash_mcp_prod.errors import (
    BusyError,
    CallTimeoutError,
    CircuitOpenError,
    ConflictError,
    InternalError,
    Interruption,
    NotFoundError,
    ServerError,
    UnavailableError,
    UnservedError,
)
from kailash_mcp_prod.guard.breaker import Breaker, Outcome, State
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

Answers = Callable[[], Awaitable[bool]]
"""Says whether a backend answers a question that costs it nothing; raises nothing."""


class Replicas(Protocol):
    """What circuits tell the other replicas and ask them."""

    def turned(self, name: str, seconds: float) -> None:
        """Hears that a circuit opened by what happened here, for how long; 0 when it closed."""

    async def probe_waits(self, name: str) -> float:
        """For how many seconds a probe has to wait; 0 when it may be sent now."""

    def probe_ended(self, name: str) -> None:
        """Hears that the probe of this process has ended, after what it turned."""


_TOOL = "tool:"
_WORKFLOW = "nexus:"
_KINDS = {"tool": "tool", "nexus": "workflow"}
# Of tools that existed once, too.
_MOST = 10_000


class Breakers:
    """Opens the circuit of what fails, and lets nobody through to it for a while.

    A backend fails when it does not answer. When a call of it takes too long, it may only have been
    asked for too much, and is asked itself. A tool fails by a defect of its own, and if it has no
    backend, as a backend does or by a call that takes too long. What a client did wrong counts for
    neither, nor does a call that was cancelled.

    Args:
        threshold: How many failures in a row open a circuit.
        recovery_seconds: For how long.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        threshold: int,
        recovery_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._recovery_seconds = recovery_seconds
        self._clock = clock
        # Only what has failed once has one: to all others, everybody is let through.
        self._breakers: dict[str, Breaker] = {}
        self._replicas: Replicas | None = None
        self._answers: dict[str, Answers] = {}
        # By backend, the calls on which its answer will be the verdict.
        self._doubted: dict[str, list[int]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def ask(self, backend: str, answers: Answers) -> None:
        """Asks a backend itself how it is, where a call of it has taken too long."""
        self._answers[backend] = answers

    async def stop(self) -> None:
        """Asks no more."""
        asking = set(self._asking)
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    def check(self, backend: str | None, tool: str) -> None:
        """Refuses a call that would be refused now, before it takes anything else.

        Raises:
            CircuitOpenError: It would.
        """
        if not self._breakers:
            return
        for name in (backend, _TOOL + tool):
            breaker = self._breakers.get(name) if name is not None else None
            if breaker is not None and breaker.seconds_left() > 0:
                raise _refused(name or "", breaker)

    def are_closed(self, backend: str | None, tool: str) -> bool:
        """Whether both circuits of a call let everybody through."""
        if not self._breakers:
            return True
        breakers = (self._breakers.get(name or "") for name in (backend, _TOOL + tool))
        return all(each is None or each.state is State.CLOSED for each in breakers)

    def around(self, backend: str | None, tool: str) -> Passage:
        """The way through both circuits, entered for the block that runs the tool.

        Raises:
            CircuitOpenError: On entering, when one of them is open.
        """
        return Passage(self, backend, _TOOL + tool)

    def admit(self, name: str) -> int:
        """Lets a call through under a number.

        Raises:
            CircuitOpenError: The circuit is open.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            return 0
        number = breaker.admit()
        if number is None:
            raise _refused(name, breaker)
        return number

    def tell(self, name: str, number: int, outcome: Outcome) -> None:
        """Says how a call ended that was let through under a number."""
        breaker = self._breakers.get(name)
        if breaker is None:
            if outcome is not Outcome.FAILED:
                return
            breaker = self._add(name)
        before = breaker.state
        breaker.tell(number, outcome)
        if breaker.state is before:
            return
        if breaker.state is State.OPEN and outcome is Outcome.FAILED:
            log.warning("circuit_opened", circuit=name, seconds=self._recovery_seconds)
            self._announce(name, self._recovery_seconds)
        elif breaker.state is State.CLOSED:
            log.info("circuit_closed", circuit=name)
            self._announce(name, 0)
        self._left(name, before)

    def doubt(self, name: str, number: int) -> None:
        """Says that a call took too long that was let through under a number.

        Any client can ask for too much, and several times at once: by that alone it must not close
        the backend to the others.
        """
        answers = self._answers.get(name)
        if answers is None:
            self.tell(name, number, Outcome.FAILED)
            return
        waiting = self._doubted.setdefault(name, [])
        waiting.append(number)
        if len(waiting) == 1:
            task = asyncio.create_task(self._find_out(name, answers), name="backend-in-doubt")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _find_out(self, name: str, answers: Answers) -> None:
        answered = None
        try:
            answered = await answers()
        finally:
            numbers = self._doubted.pop(name)
            outcome = {None: Outcome.SAID_NOTHING, True: Outcome.WORKED, False: Outcome.FAILED}
            for number in numbers:
                self.tell(name, number, outcome[answered])

    def open_from_afar(self, name: str, seconds: float) -> bool:
        """Opens a closed circuit because another replica has; whether it did."""
        breaker = self._breakers.get(name) or self._add(name)
        if breaker.state is not State.CLOSED:
            return False
        log.warning("circuit_opened", circuit=name, seconds=round(seconds, 1), by="another replica")
        breaker.open(seconds)
        return True

    def close_from_afar(self, name: str, *, although_probing: bool = False) -> None:
        """Closes an open circuit because another replica's probe went through.

        Args:
            name: The circuit.
            although_probing: Do so when a probe of this process is about to be sent, too.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            return
        if breaker.state is State.OPEN or (although_probing and breaker.state is State.HALF_OPEN):
            log.info("circuit_closed", circuit=name, by="another replica")
            breaker.close()

    def is_probe(self, name: str, number: int) -> bool:
        """Whether the call that was let through under a number is a probe."""
        breaker = self._breakers.get(name)
        return breaker is not None and breaker.is_probe(number)

    async def ask_to_probe(self, name: str, number: int) -> None:
        """Asks the other replicas, if the call with that number is a probe, whether it may be.

        Raises:
            CircuitOpenError: It may not: one of them sends its own, or will.
        """
        breaker = self._breakers.get(name)
        if self._replicas is None or breaker is None or not breaker.is_probe(number):
            return
        seconds = await self._replicas.probe_waits(name)
        if seconds > 0:
            breaker.step_back(number, seconds)
            raise _refused(name, breaker)

    def unclosed(self) -> dict[str, float]:
        """The circuits that are not closed, and after how many seconds each wants a probe."""
        return {
            name: breaker.seconds_left() if breaker.state is State.OPEN else 0
            for name, breaker in self._breakers.items()
            if breaker.state is not State.CLOSED
        }

    def known(self) -> list[tuple[str, State, int, float]]:
        """The circuits of what has failed once: name, state, failures in a row, seconds to wait."""
        return [
            (name, each.state, each.failures, each.seconds_left())
            for name, each in self._breakers.items()
        ]

    def states(self) -> dict[str, State]:
        """The state of every circuit that something has failed on."""
        return {name: breaker.state for name, breaker in self._breakers.items()}

    def seconds_left(self, name: str) -> float:
        """For how long calls of that name are refused."""
        breaker = self._breakers.get(name)
        return 0 if breaker is None else breaker.seconds_left()

    def share_with(self, replicas: Replicas) -> None:
        """Tells other replicas what turns here, and asks them before each probe."""
        self._replicas = replicas

    def health(self) -> dict[str, Any]:
        """Their component in the report on health: the circuits that are not closed.

        Everybody may read it, so tools and workflows are counted and not named.
        """
        found = {
            name: {
                "state": str(breaker.state),
                "retry_after_seconds": math.ceil(breaker.seconds_left()),
            }
            for name, breaker in self._breakers.items()
            if breaker.state is not State.CLOSED
        }
        unnamed = [name for name in found if name.startswith((_TOOL, _WORKFLOW))]
        backends = {name: each for name, each in found.items() if name not in unnamed}
        tools = {"open_tools": len(unnamed)} if unnamed else {}
        return {"status": "degraded" if found else "healthy", "open": backends, **tools}

    def _add(self, name: str) -> Breaker:
        if len(self._breakers) >= _MOST:
            closed = (each for each, of in self._breakers.items() if of.state is State.CLOSED)
            gone = next(closed, next(iter(self._breakers)))
            self._left(gone, self._breakers.pop(gone).state)
        breaker = Breaker(self._threshold, self._recovery_seconds, self._clock)
        self._breakers[name] = breaker
        return breaker

    def _announce(self, name: str, seconds: float) -> None:
        if self._replicas is not None:
            self._replicas.turned(name, seconds)

    def _left(self, name: str, state: State) -> None:
        if self._replicas is not None and state is State.HALF_OPEN:
            self._replicas.probe_ended(name)


class Passage:
    """One call's way through the circuits of its backend and its tool.

    `used` is false for a call that ended without them, and so says nothing of how they are.
    """

    __slots__ = ("_backend", "_backend_number", "_breakers", "_tool", "_tool_number", "used")

    def __init__(self, breakers: Breakers, backend: str | None, tool: str) -> None:
        self._breakers = breakers
        self._backend = backend
        self._tool = tool
        self.used = True

    def __enter__(self) -> Passage:
        self._tool_number = self._breakers.admit(self._tool)
        if self._backend is None:
            return self
        try:
            self._backend_number = self._breakers.admit(self._backend)
        except CircuitOpenError:
            self._breakers.tell(self._tool, self._tool_number, Outcome.SAID_NOTHING)
            raise
        return self

    @property
    def probes(self) -> bool:
        """Whether this call is the probe of a circuit."""
        backend = self._backend
        if not self._tool_number and (backend is None or not self._backend_number):
            # A circuit that has never turned.
            return False
        if self._breakers.is_probe(self._tool, self._tool_number):
            return True
        return backend is not None and self._breakers.is_probe(backend, self._backend_number)

    async def ask(self) -> None:
        """Asks the other replicas whether this call, which is a probe, may be the one.

        Raises:
            CircuitOpenError: It may not.
        """
        try:
            await self._breakers.ask_to_probe(self._tool, self._tool_number)
            if self._backend is not None:
                await self._breakers.ask_to_probe(self._backend, self._backend_number)
        except BaseException:
            self.used = False
            raise

    def __exit__(
        self, _kind: type[BaseException] | None, ending: BaseException | None, _trace: object
    ) -> None:
        of_backend = _of_backend(ending) if self.used else Outcome.SAID_NOTHING
        if self._backend is not None and isinstance(ending, CallTimeoutError) and self.used:
            self._breakers.doubt(self._backend, self._backend_number)
        elif self._backend is not None:
            self._breakers.tell(self._backend, self._backend_number, of_backend)
        elif of_backend is Outcome.FAILED:
            self._breakers.tell(self._tool, self._tool_number, of_backend)
            return
        of_tool = _of_tool(ending) if self.used else Outcome.SAID_NOTHING
        self._breakers.tell(self._tool, self._tool_number, of_tool)


def _of_backend(ending: BaseException | None) -> Outcome:
    if ending is None or isinstance(ending, (NotFoundError, ConflictError)):
        return Outcome.WORKED
    failed = isinstance(ending, (UnavailableError, CallTimeoutError))
    excused = isinstance(ending, (BusyError, UnservedError))
    return Outcome.FAILED if failed and not excused else Outcome.SAID_NOTHING


def _of_tool(ending: BaseException | None) -> Outcome:
    if ending is None or isinstance(ending, (NotFoundError, ConflictError)):
        return Outcome.WORKED
    if isinstance(ending, Interruption) or not isinstance(ending, Exception):
        return Outcome.SAID_NOTHING
    defect = isinstance(ending, InternalError) or not isinstance(ending, ServerError)
    return Outcome.FAILED if defect else Outcome.SAID_NOTHING


def _refused(name: str, breaker: Breaker) -> CircuitOpenError:
    wait = max(1, math.ceil(breaker.seconds_left()))
    kind, _, rest = name.partition(":")
    what = f"The {_KINDS[kind]} {rest}" if kind in _KINDS else f"The {name}"
    return CircuitOpenError(
        f"{what} has failed several times in a row and is left alone for a while. Nothing was "
        f"done. Try again in {wait} s.",
        retry_after_seconds=wait,
    )
