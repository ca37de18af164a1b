"""Logging to stderr through structlog; the libraries below are kept quiet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import Processor

OWN = "kailash_mcp_prod"
of_the_call: ContextVar[Mapping[str, Any]] = ContextVar("of_the_call", default={})  # noqa: B039
"""What stands in every line that is logged on behalf of a call: its request id and tool.

Not structlog's own context, because binding that takes ten times as long.
"""


def _merge_call(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {**of_the_call.get(), **event}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of key-value lines that go through the standard library's `logging`.

    So an application that uses the server as a library decides where they go; structlog by itself
    would print them to stdout.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            _merge_call,
            structlog.stdlib.render_to_log_kwargs,
        ],
    )
    return logger


def configure_logging(level: str) -> None:
    """Sends our log lines from `level` up, and warnings of others, to stderr.

    stdout belongs to the protocol.
    """
    shared: list[Processor] = [
        _merge_call,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Texts of clients are escaped, and values of variables are nobody's business.
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(),
                    repr_native_str=True,
                    exception_formatter=structlog.dev.plain_traceback,
                ),
            ],
        )
    )
    handler.addFilter(_wanted)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(level)


def _wanted(record: logging.LogRecord) -> bool:
    """Leaves out what DataFlow says about failures that we answer, and about its own pools.

    At the handler, because DataFlow sets the levels of its loggers anew when it is imported.
    """
    source = record.name.partition(".")[0]
    if source == OWN:
        return True
    if record.levelno < logging.WARNING or source in {"dataflow", "kailash"}:
        return record.levelno >= logging.CRITICAL
    # DataFlow makes its tables on an event loop of its own and drops the pool's tasks with it.
    return "EnterpriseConnectionPool" not in record.getMessage()
