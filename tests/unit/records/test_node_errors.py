from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_errors import DataFlowFailureError, translate_failures


def translated(
    traps: dict[str, Model], failure: BaseException, *, storing: bool = False
) -> ServerError:
    with (
        pytest.raises(ServerError) as caught,
        translate_failures(traps["TrapSeat"], storing=storing),
    ):
        raise failure
    return caught.value


@pytest.mark.parametrize(
    ("text", "unique"),
    [
        ("UNIQUE constraint failed: trap_seats.id", ["id"]),
        ("UNIQUE constraint failed: trap_seats.row, trap_seats.number", ["row", "number"]),
        (
            'duplicate key value violates unique constraint "trap_seats_pkey"\n'
            "DETAIL:  Key (id)=(secret) already exists.",
            ["id"],
        ),
        (
            'duplicate key value violates unique constraint "uq_trap_seats_place"'
            " DETAIL: Key (row, number)=(secret, 1) already exists.",
            ["row", "number"],
        ),
    ],
)
def test_a_violated_unique_key_is_a_conflict_that_names_its_fields(
    traps: dict[str, Model], text: str, unique: list[str]
) -> None:
    error = translated(traps, DataFlowFailureError(f"Database query failed: {text}"))

    assert isinstance(error, ConflictError)
    assert error.details == {"unique_key": unique}
    assert error.field == f"data.{unique[0]}"
    assert "secret" not in str(error.to_dict("r"))


def test_an_unknown_unique_key_is_a_conflict_without_a_field(traps: dict[str, Model]) -> None:
    error = translated(traps, RuntimeError('unique constraint "made_by_hand"'))

    assert isinstance(error, ConflictError)
    assert (error.field, error.details) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "database is locked",
        "deadlock detected",
        "could not serialize access due to concurrent update",
        "connection was closed in the middle of operation",
        "cannot call Connection.fetch(): connection has been released back to the pool",
        "terminating connection due to administrator command",
        "the database system is shutting down",
        "sorry, too many clients already",
        "unable to open database file",
        "disk I/O error",
        "attempt to write a readonly database",
        "pool is closing",
    ],
)
def test_a_database_that_is_busy_or_gone_is_unavailable_and_worth_a_retry(
    traps: dict[str, Model], text: str
) -> None:
    error = translated(traps, RuntimeError(f"Query failed: {text}"))

    assert isinstance(error, UnavailableError)
    assert error.retryable
    assert text not in error.message


def test_a_lost_connection_is_unavailable_whatever_wraps_it(traps: dict[str, Model]) -> None:
    wrapper = RuntimeError("node failed")
    wrapper.__cause__ = ValueError("inner")
    wrapper.__cause__.__context__ = ConnectionRefusedError(111, "")

    assert isinstance(translated(traps, wrapper), UnavailableError)


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionResetError(104, "reset"),
        RuntimeError("connection was closed in the middle of operation"),
        RuntimeError("disk I/O error"),
    ],
)
def test_what_becomes_of_a_write_is_only_unknown_when_its_commit_was_on_its_way(
    traps: dict[str, Model], failure: Exception
) -> None:
    before = translated(traps, failure)
    meanwhile = translated(traps, failure, storing=True)

    assert isinstance(before, UnavailableError)
    assert "Nothing was changed" in before.message
    assert before.details is None
    assert isinstance(meanwhile, UnavailableError)
    assert "Nothing was changed" not in meanwhile.message
    assert meanwhile.details == {"outcome": "unknown"}


def test_a_commit_that_other_writers_prevent_has_stored_nothing(traps: dict[str, Model]) -> None:
    error = translated(traps, RuntimeError("could not serialize access"), storing=True)

    assert "Nothing was changed" in error.message
    assert error.details is None


@pytest.mark.parametrize(
    "text",
    [
        "FOREIGN KEY constraint failed",
        'insert or update on table "x" violates foreign key constraint "y" (secret)',
    ],
)
def test_a_broken_reference_is_a_conflict(traps: dict[str, Model], text: str) -> None:
    error = translated(traps, DataFlowFailureError(text))

    assert isinstance(error, ConflictError)
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "CHECK constraint failed: secret > 0",
        'new row for relation "x" violates check constraint "secret"',
        "NOT NULL constraint failed: trap_seats.secret",
        'null value in column "secret" of relation "x" violates not-null constraint',
        "value out of range: secret",
        'value "secret" is out of range for type integer',
    ],
)
def test_a_value_that_breaks_a_rule_of_the_database_is_invalid(
    traps: dict[str, Model], text: str
) -> None:
    error = translated(traps, DataFlowFailureError(text))

    assert isinstance(error, InvalidArgumentsError)
    assert "secret" not in error.message


def test_anything_else_is_internal_and_says_nothing_of_its_cause(
    traps: dict[str, Model], caplog: pytest.LogCaptureFixture
) -> None:
    error = translated(traps, RuntimeError('column "secret" does not exist'))

    assert isinstance(error, InternalError)
    assert "secret" not in error.message
    assert "secret" in caplog.text


def test_a_chain_of_causes_may_be_a_circle(traps: dict[str, Model]) -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first

    assert isinstance(translated(traps, first), InternalError)


def test_our_own_errors_and_cancellations_pass_through(traps: dict[str, Model]) -> None:
    own = NotFoundError("no")

    assert translated(traps, own) is own
    with pytest.raises(KeyboardInterrupt), translate_failures(traps["TrapSeat"]):
        raise KeyboardInterrupt
