"""`Activity`: which calls run now, and who was seen last and what for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.tools.call_reports import CANCELLED, INPUT_REQUIRED, OK

if TYPE_CHECKING:
    from kailash_mcp_prod.tools.call_reports import CallReport

_MOST_AGENTS: Final = 1_000
_LONGEST_NAME: Final = 128
_GOOD: Final = frozenset({OK, INPUT_REQUIRED, CANCELLED})


class Running(NamedTuple):
    """A call that runs. `tool` is `None` while it is not known which one is meant."""

    subject: str
    tool: str | None
    session_id: str | None
    began: float
    is_part: bool


class Seen(NamedTuple):
    """An agent as it was seen last: its last call, and how many there were since the start.

    `tool` is as the agent wrote it where that came to nothing. Calls inside of others, such as
    steps, are not counted.
    """

    principal: Principal
    tool: str
    outcome: str
    seconds: float
    at: float
    calls: int
    errors: int


class Activity:
    """Hears of every call. It costs a call less than a microsecond."""

    def __init__(self) -> None:
        # No bound of its own: there are no more than run and wait at once.
        self._running: dict[int, CallReport] = {}
        self._seen: dict[str, Seen] = {}

    def begin(self, report: CallReport) -> None:
        """A call has come in."""
        self._running[id(report)] = report

    def end(self, report: CallReport) -> None:
        """It is over."""
        self._running.pop(id(report), None)
        if report.is_part:
            return
        principal = report.call.principal
        subject = principal.subject
        before = self._seen.pop(subject, None)
        calls, errors = (0, 0) if before is None else (before.calls, before.errors)
        # At the end, so that who was not seen for longest is found at the front.
        self._seen[subject] = Seen(
            principal,
            report.name[:_LONGEST_NAME] if report.tool is None else report.tool.name,
            report.outcome,
            report.seconds,
            report.began,
            calls + 1,
            errors + (report.outcome not in _GOOD),
        )
        if len(self._seen) > _MOST_AGENTS:
            del self._seen[next(iter(self._seen))]

    def running(self) -> list[Running]:
        """The calls that run, the oldest first."""
        return [
            Running(
                each.call.principal.subject,
                None if each.tool is None else each.tool.name,
                each.call.session_id,
                each.began,
                each.is_part,
            )
            for each in self._running.values()
        ]

    def seen(self) -> Iterable[Seen]:
        """The agents, who was seen last first."""
        return reversed(self._seen.values())

    def principal(self, subject: str) -> Principal | None:
        """The agent of a subject, if it was seen."""
        found = self._seen.get(subject)
        return None if found is None else found.principal
