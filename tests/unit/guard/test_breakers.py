from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.errors import CircuitOpenError, ServerError, UnavailableError
from kailash_mcp_prod.guard.breaker import Outcome, State
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.records.refusals import ContentionError
from tests.unit.guard.circuit_calls import RECOVERY, Clock, call, refusal


@pytest.mark.parametrize(
    "ending", [errors.UnavailableError("Away."), errors.CallTimeoutError("Too long.")]
)
def test_a_backend_that_fails_is_left_alone_for_all_its_tools(
    breakers: Breakers, clock: Clock, ending: ServerError
) -> None:
    for number in range(3):
        call(breakers, ending, tool=f"tool-{number}")

    error = refusal(breakers, "database", "Company_read")

    assert (error.code, error.http_status, error.retryable) == ("circuit_open", 503, True)
    assert error.retry_after_seconds == RECOVERY
    assert "The database has failed" in error.message
    clock.now += 12.5
    assert refusal(breakers, "database", "x").retry_after_seconds == 18
    breakers.check(None, "tool-0")
    breakers.check("nexus", "tool-0")


@pytest.mark.parametrize(
    "ending",
    [
        None,
        errors.InvalidArgumentsError("Wrong."),
        errors.NotFoundError("No."),
        errors.ConflictError("Taken."),
        errors.ForbiddenError("No."),
        errors.RateLimitedError("Wait."),
        errors.OverloadedError("Busy."),
        errors.UnauthenticatedError("Who?"),
        errors.BusyError("Somebody else writes."),
        errors.UnservedError("There is no table for that."),
        ContentionError("Somebody else writes."),
        errors.Interruption(),
        asyncio.CancelledError(),
    ],
)
@pytest.mark.parametrize("backend", ["database", None])
def test_what_a_client_does_opens_nothing(
    breakers: Breakers, backend: str | None, ending: BaseException | None
) -> None:
    for _ in range(10):
        call(breakers, ending, backend=backend)

    breakers.check(backend, "Company_list")


@pytest.mark.parametrize("defect", [ValueError("x"), errors.InternalError("Broken.")])
def test_a_tool_with_a_defect_is_left_alone_and_others_are_not(
    breakers: Breakers, defect: Exception
) -> None:
    for _ in range(3):
        call(breakers, defect)

    error = refusal(breakers, "database", "Company_list")

    assert "The tool Company_list has failed" in error.message
    breakers.check("database", "Company_read")


def test_a_tool_without_a_backend_fails_by_itself(breakers: Breakers) -> None:
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."), backend=None, tool="execute")

    refusal(breakers, None, "execute")
    breakers.check("database", "Company_list")


def test_what_proves_that_the_backend_answers_begins_the_count_anew(breakers: Breakers) -> None:
    away = errors.UnavailableError("Away.")
    for ending in (away, away, errors.NotFoundError("No."), away, away, None, away, away):
        call(breakers, ending)
    breakers.check("database", "Company_list")


def test_a_cancelled_probe_makes_way_for_the_next(breakers: Breakers, clock: Clock) -> None:
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    clock.now += RECOVERY
    call(breakers, asyncio.CancelledError())
    call(breakers, errors.InvalidArgumentsError("Wrong."))

    call(breakers, None)

    assert breakers.health() == {"status": "healthy", "open": {}}


def test_a_call_that_the_backend_refuses_keeps_no_probe_of_its_tool(
    breakers: Breakers, clock: Clock
) -> None:
    for _ in range(3):
        call(breakers, ValueError("x"), backend=None, tool="a")
    clock.now += RECOVERY
    for number in range(3):
        call(breakers, errors.UnavailableError("Away."), tool=f"tool-{number}")

    for _ in range(3):
        with pytest.raises(CircuitOpenError, match="The database"):
            call(breakers, None, tool="a")

    call(breakers, None, backend=None, tool="a")
    breakers.check(None, "a")


async def test_a_call_that_took_too_long_is_judged_by_what_the_backend_says(
    breakers: Breakers, clock: Clock
) -> None:
    asked: list[asyncio.Future[bool]] = []

    async def answers() -> bool:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    async def verdict(*, answered: bool) -> None:
        await asyncio.sleep(0)
        asked[-1].set_result(answered)
        await asyncio.wait(breakers._asking)

    breakers.ask("database", answers)
    for _ in range(50):
        call(breakers, errors.CallTimeoutError("Too long."))
    breakers.check("database", "x")
    await verdict(answered=True)
    breakers.check("database", "x")
    # That it answers shows what a call that worked shows.
    for ending in (errors.UnavailableError("Away."), errors.UnavailableError("Away.")):
        call(breakers, ending)
    call(breakers, errors.CallTimeoutError("Too long."))
    await verdict(answered=True)
    call(breakers, errors.UnavailableError("Away."))
    breakers.check("database", "x")

    for _ in range(2):
        call(breakers, errors.CallTimeoutError("Too long."))
    await verdict(answered=False)
    refusal(breakers, "database", "x")
    assert len(asked) == 3

    clock.now += RECOVERY
    call(breakers, errors.CallTimeoutError("Too long."))
    assert refusal(breakers, "database", "x").retry_after_seconds == 1
    await verdict(answered=True)
    assert breakers.health() == {"status": "healthy", "open": {}}


async def test_what_is_in_doubt_at_the_end_stays_so(breakers: Breakers, clock: Clock) -> None:
    async def answers() -> bool:
        await asyncio.Event().wait()
        return False

    breakers.ask("database", answers)
    for _ in range(5):
        call(breakers, errors.CallTimeoutError("Too long."))
    await asyncio.sleep(0)

    await breakers.stop()
    await breakers.stop()

    breakers.check("database", "x")


def test_health_counts_tools_and_names_none(breakers: Breakers) -> None:
    for tool in ("Secret_list", "Secret_read"):
        for _ in range(3):
            call(breakers, ValueError("x"), tool=tool)

    assert breakers.health() == {"status": "degraded", "open": {}, "open_tools": 2}


def test_health_names_what_is_not_closed(breakers: Breakers, clock: Clock) -> None:
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    assert breakers.health() == {
        "status": "degraded",
        "open": {"database": {"state": "open", "retry_after_seconds": 30}},
    }
    clock.now += RECOVERY

    with breakers.around("database", "Company_list"):
        assert breakers.health()["open"]["database"]["state"] == "half_open"
        assert refusal(breakers, "database", "x").retry_after_seconds == 1


def test_only_so_many_are_remembered(breakers: Breakers) -> None:
    for number in range(10_500):
        call(breakers, ValueError("x"), backend=None, tool=f"tool-{number}")

    assert len(breakers._breakers) == 10_000


@pytest.mark.parametrize("ending", [None, UnavailableError("down")])
def test_a_call_that_did_not_need_its_backend_says_nothing_of_it(
    breakers: Breakers, ending: Exception | None
) -> None:
    """An answer from the cache closes no circuit, and does not forgive failures."""
    for _ in range(2):
        call(breakers, UnavailableError("down"))
    with suppress(UnavailableError), breakers.around("database", "Company_list") as passage:
        passage.used = False
        if ending is not None:
            raise ending
    call(breakers, UnavailableError("down"))
    assert refusal(breakers, "database", "Company_list")


@pytest.mark.parametrize("ending", [None, ValueError("x")])
def test_a_call_that_was_answered_without_its_tool_says_nothing_of_it(
    breakers: Breakers, ending: Exception | None
) -> None:
    for _ in range(2):
        call(breakers, ValueError("x"))
    with suppress(ValueError), breakers.around("database", "Company_list") as passage:
        passage.used = False
        if ending is not None:
            raise ending
    breakers.check("database", "Company_list")
    call(breakers, ValueError("x"))
    refusal(breakers, "database", "Company_list")


def test_who_is_refused_is_told_what_failed_and_when_to_try_again(
    breakers: Breakers, clock: Clock
) -> None:
    for backend, tool in (("nexus:eu:orders", "a"), (None, "b"), ("database", "c")):
        for _ in range(3):
            call(breakers, errors.UnavailableError("Away."), backend=backend, tool=tool)
    clock.now += 0.5
    rest = (
        " has failed several times in a row and is left alone for a while."
        " Nothing was done. Try again in 30 s."
    )

    told = [refusal(breakers, *of).message for of in (("nexus:eu:orders", "x"), (None, "b"))]
    assert told == ["The workflow eu:orders" + rest, "The tool b" + rest]
    assert refusal(breakers, "database", "x").message == "The database" + rest
    assert breakers.health() == {
        "status": "degraded",
        "open": {"database": {"state": "open", "retry_after_seconds": 30}},
        "open_tools": 2,
    }


def test_an_open_circuit_of_a_tool_refuses_it_whether_or_not_its_backend_is_known(
    breakers: Breakers,
) -> None:
    for _ in range(3):
        call(breakers, ValueError("x"), tool="a")

    for backend in ("database", "other", None):
        assert "The tool a" in refusal(breakers, backend, "a").message
        breakers.check(backend, "b")


def test_what_has_failed_once_is_known_with_its_count_and_wait(
    breakers: Breakers, clock: Clock
) -> None:
    assert (breakers.known(), breakers.states()) == ([], {})
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    for _ in range(2):
        call(breakers, ValueError("x"), backend="other", tool="a")
    clock.now += 10

    assert breakers.known() == [
        ("database", State.OPEN, 0, RECOVERY - 10),
        ("tool:a", State.CLOSED, 2, 0),
    ]
    assert breakers.states() == {"database": State.OPEN, "tool:a": State.CLOSED}
    waits = [breakers.seconds_left(name) for name in ("database", "tool:a", "tool:b")]
    assert waits == [RECOVERY - 10, 0, 0]


def test_it_is_logged_when_a_circuit_opens_and_when_it_closes(
    breakers: Breakers, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    clock.now += RECOVERY
    call(breakers, errors.InvalidArgumentsError("Wrong."))
    call(breakers, None)

    opened, closed = map(vars, caplog.records)
    assert (opened["message"], opened["levelname"]) == ("circuit_opened", "WARNING")
    assert (opened["circuit"], opened["seconds"]) == ("database", RECOVERY)
    assert (closed["message"], closed["levelname"]) == ("circuit_closed", "INFO")
    assert closed["circuit"] == "database"


def test_the_circuit_that_is_forgotten_for_a_new_one_is_the_oldest_closed_one(
    breakers: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kailash_mcp_prod.guard.breakers._MOST", 3)
    for tool, failures in (("open", 3), ("old", 2), ("young", 2), ("new", 1)):
        for _ in range(failures):
            call(breakers, ValueError("x"), tool=tool)
    assert list(breakers.states()) == ["tool:open", "tool:young", "tool:new"]

    for tool, failures in (("young", 1), ("new", 2), ("newest", 3)):
        for _ in range(failures):
            call(breakers, ValueError("x"), tool=tool)
    assert list(breakers.states()) == ["tool:young", "tool:new", "tool:newest"]


async def test_whoever_stops_waits_until_nothing_is_asked_any_more(breakers: Breakers) -> None:
    ended = []

    async def answers() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("asked")
        return True

    for backend in ("database", "other"):
        breakers.ask(backend, answers)
        call(breakers, errors.CallTimeoutError("Too long."), backend=backend)
    await asyncio.sleep(0)
    assert {task.get_name() for task in breakers._asking} == {"backend-in-doubt"}

    await breakers.stop()

    assert ended == ["asked", "asked"]
    assert breakers.states() == {}
    await asyncio.sleep(0)
    assert breakers._asking == set()


async def test_a_probe_that_is_in_doubt_at_the_end_makes_way_for_the_next(
    breakers: Breakers, clock: Clock
) -> None:
    async def answers() -> bool:
        await asyncio.Event().wait()
        return False

    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    breakers.ask("database", answers)
    clock.now += RECOVERY
    call(breakers, errors.CallTimeoutError("Too long."))
    refusal(breakers, "database", "x")
    await asyncio.sleep(0)

    await breakers.stop()

    breakers.check("database", "x")


def test_circuits_are_closed_until_one_of_them_opens_and_after_its_probe(
    breakers: Breakers, clock: Clock
) -> None:
    assert breakers.are_closed("database", "a")
    for _ in range(3):
        assert breakers.are_closed("database", "a")
        call(breakers, errors.UnavailableError("Away."), backend="database")
    assert not breakers.are_closed("database", "a")
    assert breakers.are_closed(None, "a")
    assert breakers.are_closed("redis", "a")

    clock.now += RECOVERY
    number = breakers.admit("database")
    # Half open is not closed: only the probe may go through.
    assert not breakers.are_closed("database", "a")
    breakers.tell("database", number, Outcome.WORKED)
    assert breakers.are_closed("database", "a")


def test_the_circuit_of_a_tool_is_one_of_its_own(breakers: Breakers) -> None:
    for _ in range(3):
        call(breakers, errors.InternalError("Broken."), tool="a", backend=None)

    assert not breakers.are_closed("database", "a")
    assert not breakers.are_closed(None, "a")
    assert breakers.are_closed("database", "b")
