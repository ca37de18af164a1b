from __future__ import annotations

import json

import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.errors import (
    ConfigError,
    DatabaseStartupError,
    InternalError,
    InvalidArgumentsError,
    ModelError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    StartupError,
    UnknownToolError,
)

CODES = {
    *("invalid_arguments", "not_found", "conflict", "unauthenticated", "forbidden"),
    *("rate_limited", "overloaded", "circuit_open", "timeout", "unavailable", "internal"),
}
STATUSES = {
    "invalid_arguments": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "rate_limited": 429,
    "internal": 500,
    "overloaded": 503,
    "circuit_open": 503,
    "unavailable": 503,
    "timeout": 504,
}
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServerError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_the_contract_and_its_status(kind: type[ServerError]) -> None:
    assert kind.code in CODES
    assert kind.http_status == STATUSES[kind.code]


@pytest.mark.parametrize("code", STATUSES)
def test_every_code_has_an_error(code: str) -> None:
    assert code in {kind.code for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_only_failures_of_the_moment_are_worth_a_retry(kind: type[ServerError]) -> None:
    passing = {"rate_limited", "overloaded", "circuit_open", "timeout", "unavailable"}

    assert kind.retryable == (kind.code in passing)


def test_the_body_of_a_bare_error_has_no_empty_members() -> None:
    assert InvalidArgumentsError("No.").to_dict("r1") == {
        "code": "invalid_arguments",
        "message": "No.",
        "retryable": False,
        "request_id": "r1",
    }


def test_the_body_tells_field_details_and_time_of_a_retry() -> None:
    error = RateLimitedError("Wait.", field="name", details={"a": [1]}, retry_after_seconds=2)

    assert error.to_dict("r1") == {
        "code": "rate_limited",
        "message": "Wait.",
        "retryable": True,
        "retry_after_seconds": 2,
        "field": "name",
        "details": {"a": [1]},
        "request_id": "r1",
    }
    assert str(error) == error.message == "Wait."


def test_an_error_can_be_told_of_arguments_that_stand_below_another() -> None:
    problems = [{"field": "data.name", "message": "m"}]
    details = {"problems": problems, "known": ["a"]}
    error = RateLimitedError(
        "data.name: wait.", field="data.name", details=details, retry_after_seconds=2
    )

    moved = error.below("arguments")

    assert type(moved) is RateLimitedError
    assert moved.field == "arguments.data.name"
    assert str(moved) == moved.message == "arguments.data.name: wait."
    assert moved.details == {
        "problems": [{"field": "arguments.data.name", "message": "m"}],
        "known": ["a"],
    }
    assert moved.retry_after_seconds == 2
    assert (error.field, error.message, error.details) == ("data.name", "data.name: wait.", details)
    assert InternalError("Broken.").below("arguments").to_dict("r")["message"] == "Broken."


def test_a_retry_at_once_is_told_too() -> None:
    assert RateLimitedError("Wait.", retry_after_seconds=0).to_dict("r")["retry_after_seconds"] == 0


def test_later_changes_of_the_given_details_do_not_reach_the_error() -> None:
    details = {"known": 1}
    error = NotFoundError("No.", details=details)
    details["secret"] = 2

    assert error.details == {"known": 1}


def test_the_body_says_nothing_of_the_cause() -> None:
    error = InternalError("Broken.")
    error.__cause__ = RuntimeError("password=hunter2")

    assert "hunter2" not in json.dumps(error.to_dict("r1"))


def test_an_unknown_tool_looks_like_anything_else_that_is_not_found() -> None:
    assert UnknownToolError("No.").to_dict("r") == NotFoundError("No.").to_dict("r")


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(StartupError, 1), (ConfigError, 2), (ModelError, 3), (DatabaseStartupError, 4)],
)
def test_each_reason_not_to_start_has_its_own_exit_code(
    kind: type[StartupError], exit_code: int
) -> None:
    assert kind.exit_code == exit_code
    assert issubclass(kind, StartupError)
    assert not issubclass(kind, ServerError)
