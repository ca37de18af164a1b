"""The error tree, and its one mapping to MCP results, REST statuses and exit codes.

Every failed call ends as a `ServerError`. Its message is written for the caller: it names the
field and the fix, and never carries text from a driver, a DSN, another row or a traceback.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class ServerError(Exception):
    """A failure that the caller may see.

    Args:
        message: What is wrong and what to do about it, for an agent to read.
        field: The path of the argument at fault, such as `data.name` or `filter.$and[0].qty`.
        details: JSON-safe facts that help to mend the call, such as the known field names.
        retry_after_seconds: When a retry is worth trying; a second, if one is at all.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = dict(details) if details else None
        if retry_after_seconds is None and self.retryable:
            retry_after_seconds = 1
        self.retry_after_seconds = retry_after_seconds

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """The public body: the value of `structuredContent.error` and of REST's `error`."""
        body: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.retry_after_seconds is not None:
            body["retry_after_seconds"] = self.retry_after_seconds
        if self.field is not None:
            body["field"] = self.field
        if self.details is not None:
            body["details"] = self.details
        body["request_id"] = request_id
        return body

    def below(self, argument: str) -> Self:
        """The same error for arguments that stand in an argument of another tool.

        Args:
            argument: That argument; paths begin with it.
        """
        moved = copy.copy(self)
        if self.field is not None:
            moved.field = f"{argument}.{self.field}"
            if self.message.startswith(f"{self.field}:"):
                moved.message = f"{argument}.{self.message}"
                moved.args = (moved.message,)
        problems = (self.details or {}).get("problems")
        if isinstance(problems, list):
            found = [{**each, "field": f"{argument}.{each['field']}"} for each in problems]
            moved.details = {**(self.details or {}), "problems": found}
        return moved


class Interruption(Exception):  # noqa: N818 - an outcome of a call, not its failure
    """A call ends here and goes on in another request; nothing on its way may catch this."""


class InvalidArgumentsError(ServerError):
    """The arguments break the tool's schema or the rules of the data."""

    code = "invalid_arguments"
    http_status = 400


class NotFoundError(ServerError):
    """The record or the named thing does not exist for this caller."""

    code = "not_found"
    http_status = 404


class UnknownToolError(NotFoundError):
    """No such tool is visible to this caller; MCP reports it as a protocol error."""


class ConflictError(ServerError):
    """A unique key is taken, or the record is not in the expected state."""

    code = "conflict"
    http_status = 409


class UnauthenticatedError(ServerError):
    """The credential is missing, wrong or expired.

    `token_sent` says whether there was a bearer token, which then is no good.
    """

    code = "unauthenticated"
    http_status = 401
    token_sent = False


class ForbiddenError(ServerError):
    """The credential is good but does not allow this."""

    code = "forbidden"
    http_status = 403


class InsufficientScopeError(ForbiddenError):
    """The credential is good, and another one of the same caller could do this.

    `details` has what a token needs for it as `required_scopes`, as far as that can be said.
    """

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that are needed."""
        return tuple((self.details or {}).get("required_scopes", ()))


class RateLimitedError(ServerError):
    """The caller or the server as a whole is over its rate."""

    code = "rate_limited"
    http_status = 429
    retryable = True


class OverloadedError(ServerError):
    """Too many calls are running and waiting; this one was not started."""

    code = "overloaded"
    http_status = 503
    retryable = True


class CallTimeoutError(ServerError):
    """The call took longer than `request_timeout_seconds` and was stopped."""

    code = "timeout"
    http_status = 504
    retryable = True


class UnavailableError(ServerError):
    """A backend that the call needs does not answer."""

    code = "unavailable"
    http_status = 503
    retryable = True


class BusyError(UnavailableError):
    """The backend works, but somebody else holds what the call needs."""


class UnservedError(UnavailableError):
    """The backend works, but the operator has not given the server what the call needs."""


class CircuitOpenError(ServerError):
    """What the call needs has failed several times in a row and is left alone for a while."""

    code = "circuit_open"
    http_status = 503
    retryable = True


class InternalError(ServerError):
    """A defect of the server; the log has it under the request id."""


class StartupError(Exception):
    """The server can't start as configured: the message says what to change.

    Raised for an unsafe or unknown setting, a model that can't be served and a database that
    can't be prepared. The CLI prints it and ends with `exit_code`.
    """

    exit_code: ClassVar[int] = 1


class ConfigError(StartupError):
    """A setting is unknown, out of range or unsafe."""

    exit_code = 2


class ModelError(StartupError):
    """A model can't be served; the message names the model and the field."""

    exit_code = 3


class DatabaseStartupError(StartupError):
    """The database can't be reached or its tables can't be prepared."""

    exit_code = 4
