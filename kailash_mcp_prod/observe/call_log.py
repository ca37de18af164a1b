"""One line in the log for each call of a tool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.observe import logs
from kailash_mcp_prod.observe.log_lines import CALLS, CallLine

if TYPE_CHECKING:
    from kailash_mcp_prod.tools.call_reports import CallReport

_LONGEST_NAME: Final = 128

Details = Callable[["CallReport"], dict[str, Any]]


class CallLog:
    """Logs each call when it is over, at the level INFO.

    Args:
        details: What else is told of a call; `None` for nothing, which is the default: arguments
            and rows are the callers' own.
        explain: Is told of each call while the level is DEBUG.
    """

    def __init__(
        self,
        details: Details | None = None,
        explain: Callable[[CallReport], None] | None = None,
    ) -> None:
        self._details = details
        self._explain = explain
        self._logger = logging.getLogger(CALLS)
        self._log = logs.get_logger(CALLS)

    def end(self, report: CallReport) -> None:
        """Logs it."""
        logger = self._logger
        if not logger.isEnabledFor(logging.INFO):
            return
        call, tool = report.call, report.tool
        line = CallLine(
            report.began + report.seconds,
            call.request_id,
            call.principal.subject,
            report.name[:_LONGEST_NAME] if tool is None else tool.name,
            report.outcome,
            report.seconds,
            report.from_cache,
            call.peer.transport,
            call.session_id,
            report.is_part,
            None if self._details is None else self._details(report),
        )
        if self._explain is not None and logger.isEnabledFor(logging.DEBUG):
            self._explain(report)
        writer = logs.writer_of(logger)
        if writer is None:
            self._log.info("call", **line.fields())
        else:
            writer.put(line)


def together(told: Sequence[Details]) -> Details | None:
    """What each of them tells; `None` for nobody."""
    if len(told) < 2:
        return told[0] if told else None

    def tell(report: CallReport) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in told:
            found.update(each(report))
        return found

    return tell
