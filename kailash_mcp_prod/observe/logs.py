"""Logging through structlog, written by a thread; the libraries below are kept quiet."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from structlog.typing import Processor

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.log_writer import Form, LogWriter, Place

OWN = "kailash_mcp_prod"
of_the_call: ContextVar[Mapping[str, Any]] = ContextVar("of_the_call", default={})  # noqa: B039
"""What stands in every line that is logged on behalf of a call: its request id and tool.

Not structlog's own context, because binding that takes ten times as long.
"""

_FLUSH_SECONDS: Final = 1.0
_QUIET: Final = frozenset({"dataflow", "kailash"})
# These set levels and handlers of their own when they are imported or run.
_TAMED: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "kailash", "dataflow", "nexus")


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


class QueueHandler(logging.Handler):
    """Makes lines where they are logged, and leaves it to a thread to write them.

    Args:
        writer: Writes them.
        forms: How they look, in each form that is needed.
    """

    def __init__(self, writer: LogWriter, forms: Mapping[Form, logging.Formatter]) -> None:
        super().__init__()
        self.writer = writer
        self._forms = forms

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one line."""
        from kailash_mcp_prod.observe.log_lines import Rendered

        try:
            line = Rendered({form: _encoded(each, record) for form, each in self._forms.items()})
        except Exception:  # noqa: BLE001 - as in all handlers: a line that breaks ends no call
            self.handleError(record)
            return
        self.writer.put(line)
        if record.levelno >= logging.ERROR:
            # The process may be about to end.
            self.writer.hurry()

    def flush(self) -> None:
        """Waits a second at most until everything is written; `logging` does so at the exit."""
        self.writer.flush(_FLUSH_SECONDS)


def configure_logging(
    level: str,
    *,
    form: Form | None = None,
    file: Path | None = None,
    file_max_bytes: int = 10 * 1024 * 1024,
    files_kept: int = 5,
    pid: int | None = None,
) -> None:
    """Sends our log lines from `level` up, and warnings of others, to stderr.

    stdout belongs to the protocol.

    Args:
        level: The lowest level.
        form: How lines look on stderr; by default as a person reads them on a terminal, and JSON
            elsewhere.
        file: Where they go too, as JSON.
        file_max_bytes: How long that may become.
        files_kept: How many older ones are kept.
        pid: Stands in each line, where several processes log to one place.

    Raises:
        ConfigError: The file can't be opened.
    """
    # Late, because the library's users who have their own logging need none of it.
    from kailash_mcp_prod.observe import log_lines
    from kailash_mcp_prod.observe.log_places import RotatingFile, Stream
    from kailash_mcp_prod.observe.log_writer import LogWriter

    log_lines.of_process = {} if pid is None else {"pid": pid}
    terminal = sys.stderr.isatty()
    form = form or ("console" if terminal else "json")
    places: list[Place] = [Stream(_descriptor_of_stderr(), form)]
    if file is not None:
        places.append(RotatingFile(file, max_bytes=file_max_bytes, kept=files_kept))
    forms = {each: _formatter(each, colors=terminal) for each in {place.form for place in places}}
    handler = QueueHandler(LogWriter(places, lambda count: _dropped(count, forms)), forms)
    handler.addFilter(_wanted)
    root = logging.getLogger()
    for before in root.handlers:
        if isinstance(before, QueueHandler):
            before.close()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(level)
    tame()


def tame() -> None:
    """Takes away the handlers that libraries have given their own loggers, and the root.

    Their lines would come twice, or in a form of their own. Does nothing where logging is the
    application's.
    """
    root = logging.getLogger()
    ours = [each for each in root.handlers if isinstance(each, QueueHandler)]
    if not ours:
        return
    root.handlers[:] = ours
    root.setLevel(logging.WARNING)
    for name in _TAMED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def writer_of(logger: logging.Logger) -> LogWriter | None:
    """What writes the lines of a logger, if it is ours and the only one that hears of them."""
    if logger.handlers:
        return None
    parent = logger.parent
    while parent is not None and parent.parent is not None:
        if parent.handlers:
            return None
        parent = parent.parent
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], QueueHandler):
        return handlers[0].writer
    return None


def _descriptor_of_stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, io.UnsupportedOperation):
        return 2


def _formatter(form: Form, *, colors: bool) -> logging.Formatter:
    from kailash_mcp_prod.observe.log_lines import merge_process, on_one_line, to_json

    shared: list[Processor] = [
        _merge_call,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        merge_process,
    ]
    last: list[Processor]
    if form == "json":
        # Values of variables are nobody's business, here and below.
        last = [structlog.processors.format_exc_info, to_json]
    else:
        last = [
            on_one_line,
            structlog.dev.ConsoleRenderer(
                colors=colors,
                # Texts of clients are escaped.
                repr_native_str=True,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _encoded(formatter: logging.Formatter, record: logging.LogRecord) -> bytes:
    return f"{formatter.format(record)}\n".encode("utf-8", "backslashreplace")


def _dropped(count: int, forms: Mapping[Form, logging.Formatter]) -> Any:
    from kailash_mcp_prod.observe.log_lines import Rendered

    record = logging.LogRecord(
        f"{OWN}.observe.logs", logging.WARNING, __file__, 0, "log_lines_dropped", (), None
    )
    record.count = count
    return Rendered({form: _encoded(each, record) for form, each in forms.items()})


def _wanted(record: logging.LogRecord) -> bool:
    """Leaves out what DataFlow says about failures that we answer, and about its own pools.

    At the handler, because DataFlow sets the levels of its loggers anew when it is imported.
    """
    source = record.name.partition(".")[0]
    if source == OWN:
        return True
    if record.levelno < logging.WARNING or source in _QUIET:
        return record.levelno >= logging.CRITICAL
    # DataFlow makes its tables on an event loop of its own and drops the pool's tasks with it.
    return "EnterpriseConnectionPool" not in record.getMessage()
