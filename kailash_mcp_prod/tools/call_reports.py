"""What is known of one call of a tool, and who is told of it: metrics, audit, logs, traces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

from kailash_mcp_prod.errors import Interruption, ServerError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

log = get_logger(__name__)

OK: Final = "ok"
CANCELLED: Final = "cancelled"
INPUT_REQUIRED: Final = "input_required"

_reported: ContextVar[CallReport | None] = ContextVar("reported", default=None)


class CallReport:
    """One call, filled in as it goes on.

    Attributes:
        call: What was asked for; once `tool` is known, the call of that.
        name: The tool's name as the client wrote it; it need not exist.
        tool: What the call came to; `None` while that is not known, and when it came to nothing.
        is_part: Whether it is a part of another call, such as a step of a workflow.
        within: The call in whose transaction it runs: what it changed is undone unless that
            succeeds.
        parts: The calls that ran in a transaction of this one, in their order.
        began: When, in seconds of `time.time`.
        seconds: How long it took, once it is over.
        from_cache: Whether nothing else was asked.
        repeated: Whether it was done before, and only the answer was given again.
        outcome: `ok`, the code of the error, `cancelled` or `input_required`; empty before.
        error: Why it failed.
        result: What it returned.
    """

    __slots__ = (
        "_started",
        "_token",
        "began",
        "call",
        "error",
        "from_cache",
        "is_part",
        "name",
        "outcome",
        "parts",
        "repeated",
        "result",
        "seconds",
        "tool",
        "within",
    )

    def __init__(self, call: ToolCall, name: str, *, is_part: bool) -> None:
        self.call = call
        self.name = name
        self.is_part = is_part
        self.tool: ToolSpec | None = None
        self.parts: list[CallReport] = []
        self.from_cache = False
        self.repeated = False
        self.outcome = ""
        self.error: ServerError | None = None
        self.result: dict[str, Any] | None = None
        self.seconds = 0.0
        self.within: CallReport | None = None
        around = _reported.get()
        if call.within is not None and around is not None:
            self.within = around.within or around
            self.within.parts.append(self)
        self._token = _reported.set(self)
        self.began = time.time()
        self._started = time.perf_counter()

    def finish(self, outcome: str) -> None:
        """Says how it ended."""
        self.seconds = time.perf_counter() - self._started
        self.outcome = outcome
        _reported.reset(self._token)


def mark_repeated() -> None:
    """Says of the call that runs that it was done before, and nothing is changed by it."""
    report = _reported.get()
    if report is not None:
        report.repeated = True


CallGate = Callable[[CallReport], Awaitable[None]]
"""Is asked before a call that may change something; what it raises is the answer."""


Hear = Callable[[CallReport], None]
"""Hears of a call; what it raises is logged and changes nothing."""

Settle = Callable[[CallReport], Awaitable[None]]
"""Keeps what must be kept before the answer goes out.

Raises:
    ServerError: The answer instead of the call's own.
"""


class CallWatchers:
    """Who watches the calls of one service, told in the order in which they came."""

    def __init__(self) -> None:
        self._begin: list[Hear] = []
        self._settle: list[Settle] = []
        self._end: list[Hear] = []
        self._gates: list[CallGate] = []

    def add(self, *, end: Hear, begin: Hear | None = None, settle: Settle | None = None) -> None:
        """Tells somebody of all calls from now on.

        Args:
            end: The answer is known; also told of calls that were cancelled.
            begin: A call has come in; its `tool` is not known yet.
            settle: A call is over, and its answer has not gone out. Not asked of calls that were
                cancelled, nor of those that run within another's transaction.
        """
        self._end.append(end)
        if begin is not None:
            self._begin.append(begin)
        if settle is not None:
            self._settle.append(settle)

    def add_gate(self, gate: CallGate) -> None:
        """Asks a gate before all calls that may change something, from now on."""
        self._gates.append(gate)

    async def admit(self, report: CallReport) -> None:
        """Asks the gates; nothing has been done for the call yet.

        Raises:
            ServerError: It must not go on.
        """
        if report.within is None and report.tool is not None and not report.tool.read_only:
            for gate in self._gates:
                await gate(report)

    def begin(self, call: ToolCall, name: str, *, is_part: bool) -> CallReport | None:
        """A new report; `None` when nobody watches."""
        if not self._end:
            return None
        report = CallReport(call, name, is_part=is_part)
        _tell(self._begin, report)
        return report

    async def succeed(self, report: CallReport, result: dict[str, Any]) -> None:
        """The call has a result.

        Raises:
            ServerError: It must not be given.
        """
        report.result = result
        report.finish(OK)
        try:
            await self._settled(report)
        except ServerError as error:
            report.error, report.outcome = error, error.code
            raise
        except asyncio.CancelledError:
            report.outcome = CANCELLED
            raise
        finally:
            _tell(self._end, report)

    async def fail(self, report: CallReport, failure: BaseException) -> None:
        """The call has ended otherwise; the failure is then raised again.

        Raises:
            ServerError: Another one takes its place.
        """
        try:
            if isinstance(failure, ServerError):
                report.error = failure
                report.finish(failure.code)
                await self._settled(report)
            else:
                report.finish(INPUT_REQUIRED if isinstance(failure, Interruption) else CANCELLED)
        finally:
            _tell(self._end, report)

    async def _settled(self, report: CallReport) -> None:
        if report.within is None:
            for settle in self._settle:
                await settle(report)


def _tell(hearers: list[Hear], report: CallReport) -> None:
    for hear in hearers:
        try:
            hear(report)
        except Exception:
            log.exception("call_watcher_broke")
