"""What callers hear of a workflow that failed."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import ConflictError, ServerError, UnavailableError
from kailash_mcp_prod.nexus.failures import WorkflowFailedError, meant_by, trace_of

DSN = "postgresql://user:password@host/db"


class WorkflowExecutionError(Exception):
    """As Kailash has it."""


def raised(root: BaseException) -> BaseException:
    try:
        try:
            raise root
        except BaseException as cause:
            raise WorkflowExecutionError(f"Node 'load' execution failed: {cause}") from cause
    except WorkflowExecutionError as failure:
        return failure


@pytest.mark.parametrize("root", [ValueError(DSN), KeyError(DSN), ZeroDivisionError(DSN)])
def test_what_may_be_the_input_counts_against_nobody(root: Exception) -> None:
    error = meant_by(raised(root))

    assert type(error) is WorkflowFailedError
    assert error.details == {"error_type": type(root).__name__, "node": "load"}
    assert DSN not in str(error.to_dict("1"))


@pytest.mark.parametrize("root", [OSError(DSN), RuntimeError(DSN)])
def test_anything_else_counts_against_what_is_behind(root: Exception) -> None:
    error = meant_by(raised(root))

    assert isinstance(error, UnavailableError)
    assert DSN not in str(error.to_dict("1"))


def test_errors_for_callers_keep_their_words() -> None:
    error: ServerError = ConflictError("It is sold.")

    assert meant_by(raised(error)) is error


def test_the_log_has_the_text_without_the_password() -> None:
    trace = trace_of(raised(OSError(DSN)))

    assert "postgresql://***@host/db" in trace
    assert "test_failures.py" in trace
