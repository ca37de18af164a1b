"""What a caller hears of a workflow that failed: enough to act upon, and nothing that may leak."""

from __future__ import annotations

import re
import traceback
from typing import Final

from kailash_mcp_prod.errors import (
    ConflictError,
    ForbiddenError,
    InvalidArgumentsError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnavailableError,
)

_OF_STATUS: Final[dict[int, type[ServerError]]] = {
    400: InvalidArgumentsError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidArgumentsError,
    429: RateLimitedError,
    503: UnavailableError,
}
_BY_INPUT: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
_NODE: Final = re.compile(r"^(?:Sync n|Async n|N)ode '([A-Za-z0-9_.-]{1,64})' execution failed")
_WRAPPERS: Final = frozenset({"WorkflowExecutionError", "NodeExecutionError"})
_LONGEST_DETAIL: Final = 500
_MOST_CAUSES: Final = 16
_LONGEST_TRACE: Final = 4000
_PASSWORD: Final = re.compile(r"://[^/@\s]+@")


class WorkflowFailedError(ServerError):
    """A workflow failed by what it was given or by a defect of its own, not for want of a backend.

    Which of the two can't be told, so it counts against nobody.
    """

    code = "internal"
    http_status = 500


class WorkflowTimeoutError(ServerError):
    """The time that the caller has given a workflow is over."""

    code = "timeout"
    http_status = 504
    retryable = True


def meant_by(failure: BaseException) -> ServerError:
    """The error for the caller of a workflow that raised this.

    What the workflow has raised for its callers (errors of this package, and of `nexus.errors` with
    a status below 500) keeps its words. Of anything else the caller hears the node and the kind.
    """
    causes = _causes(failure)
    for cause in causes:
        if isinstance(cause, ServerError):
            return cause
        told = _told_by_nexus(cause)
        if told is not None:
            return told
    node = next((found[1] for each in causes if (found := _NODE.match(str(each)))), None)
    root = next((each for each in causes if type(each).__name__ not in _WRAPPERS), causes[-1])
    where = f" in its node {node}" if node is not None else ""
    kind = type(root).__name__
    message = (
        f"The workflow failed{where} ({kind}). Check the inputs; if they are right, report the "
        "request id to its operator."
    )
    details = {"error_type": kind, **({"node": node} if node is not None else {})}
    if isinstance(root, (ValueError, *_BY_INPUT)):
        return WorkflowFailedError(message, details=details)
    return WorkflowBrokenError(message, details=details)


def trace_of(failure: BaseException) -> str:
    """What the log says of it: where it comes from, without passwords in addresses."""
    root = next(
        (each for each in _causes(failure) if type(each).__name__ not in _WRAPPERS), failure
    )
    lines = traceback.format_exception(type(root), root, root.__traceback__, chain=False)
    return _PASSWORD.sub("://***@", "".join(lines))[-_LONGEST_TRACE:]


class WorkflowBrokenError(UnavailableError):
    """A workflow failed for want of something behind it, such as a database that is down."""


def _causes(failure: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = failure
    while cause is not None and len(found) < _MOST_CAUSES:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _told_by_nexus(failure: BaseException) -> ServerError | None:
    """What `nexus.errors` says to callers, which is all of it that is meant for them."""
    status, detail = getattr(failure, "status_code", None), getattr(failure, "detail", None)
    if not type(failure).__module__.startswith("nexus.") or not isinstance(status, int):
        return None
    kind = _OF_STATUS.get(status)
    if kind is None or not isinstance(detail, str):
        return None
    return kind(detail[:_LONGEST_DETAIL])
