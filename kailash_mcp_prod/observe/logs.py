"""Logging to stderr through structlog; the libraries below are kept quiet."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

OWN = "kailash_mcp_prod"


def configure_logging(level: str) -> None:
    """Sends our log lines from `level` up, and warnings of others, to stderr.

    stdout belongs to the protocol.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(level)
    tame_libraries()


def tame_libraries() -> None:
    """Silences what DataFlow says about failures that we answer, and about its own pools."""
    for name in ("dataflow", "kailash"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_not_of_dataflow)


def _not_of_dataflow(record: logging.LogRecord) -> bool:
    # DataFlow makes its tables on an event loop of its own and drops the pool's tasks with it.
    return "EnterpriseConnectionPool" not in record.getMessage()
