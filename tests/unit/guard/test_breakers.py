from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.errors import CircuitOpenError, ServerError, UnavailableError
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.records.refusals import ContentionError

RECOVERY = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(3, RECOVERY, clock)


def call(
    breakers: Breakers,
    ending: BaseException | None,
    *,
    backend: str | None = "database",
    tool: str = "Company_list",
) -> None:
    """One call that ends so."""
    try:
        with breakers.around(backend, tool):
            if ending is not None:
                raise ending
    except CircuitOpenError:
        raise
    except BaseException as raised:
        if raised is not ending:
            raise


def refusal(breakers: Breakers, backend: str | None, tool: str) -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as refused:
        breakers.check(backend, tool)
    with pytest.raises(CircuitOpenError), breakers.around(backend, tool):
        pass
    return refused.value


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


class Others:
    """The other replicas: hears what they would, and lets each probe wait for so long."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.wait: dict[str, float] = {}
        self.silent = False

    def turned(self, name: str, seconds: float) -> None:
        self.heard.append((name, seconds))

    async def probe_waits(self, name: str) -> float:
        self.asked.append(name)
        if self.silent:
            await asyncio.Event().wait()
        return self.wait.get(name, 0)

    def probe_ended(self, name: str) -> None:
        self.ended.append(name)


@pytest.fixture
def others(breakers: Breakers) -> Others:
    others = Others()
    breakers.share_with(others)
    return others


async def asking_call(breakers: Breakers, ending: Exception | None = None) -> None:
    with breakers.around("database", "a") as passage:
        await passage.ask()
        if ending is not None:
            raise ending


async def test_only_a_probe_is_asked_for(breakers: Breakers, clock: Clock, others: Others) -> None:
    away = errors.UnavailableError("Away.")
    await asking_call(breakers)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await asking_call(breakers, away)
    assert (others.asked, others.ended) == ([], [])

    for ending, heard in ((ValueError("x"), []), (away, [("database", RECOVERY)])):
        clock.now += RECOVERY
        others.heard.clear()
        others.ended.clear()
        with pytest.raises(type(ending)):
            await asking_call(breakers, ending)
        assert (others.heard, others.ended) == (heard, ["database"])
    clock.now += RECOVERY
    await asking_call(breakers)
    await asking_call(breakers)

    assert others.heard[-1] == ("database", 0)
    assert others.asked == 3 * ["database"]


async def test_a_probe_that_another_replica_sends_is_not_sent(
    breakers: Breakers, clock: Clock, others: Others
) -> None:
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    for _ in range(3):
        call(breakers, ValueError("x"), backend=None, tool="a")
    clock.now += RECOVERY
    others.wait["database"] = 2

    with pytest.raises(CircuitOpenError) as refused:
        await asking_call(breakers)

    assert refused.value.retry_after_seconds == 2
    assert others.asked == ["tool:a", "database"]
    # The lease of the other circuit, which was taken before, goes back.
    assert others.ended == ["tool:a"]
    assert refusal(breakers, "database", "b").retry_after_seconds == 2
    clock.now += 2
    others.wait.clear()
    await asking_call(breakers)
    breakers.check("database", "a")


async def test_a_call_that_is_cancelled_while_it_asks_makes_way(
    breakers: Breakers, clock: Clock, others: Others
) -> None:
    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    clock.now += RECOVERY
    others.silent = True
    asking = asyncio.create_task(asking_call(breakers))
    await asyncio.sleep(0)
    assert others.asked == ["database"]
    refusal(breakers, "database", "a")

    asking.cancel()
    await asyncio.wait({asking})

    assert others.ended == ["database"]
    others.silent = False
    await asking_call(breakers)
    breakers.check("database", "a")


def test_what_turns_here_is_announced_and_what_turned_elsewhere_is_not(
    breakers: Breakers, clock: Clock, others: Others
) -> None:
    heard = others.heard
    assert breakers.open_from_afar("database", 5)
    assert not breakers.open_from_afar("database", 9)
    assert refusal(breakers, "database", "x").retry_after_seconds == 5
    breakers.close_from_afar("database")
    breakers.check("database", "x")
    assert heard == []

    for _ in range(3):
        call(breakers, errors.UnavailableError("Away."))
    clock.now += RECOVERY
    call(breakers, errors.UnavailableError("Away."))
    clock.now += RECOVERY
    call(breakers, None)

    assert heard == [("database", RECOVERY), ("database", RECOVERY), ("database", 0)]


def test_a_probe_of_this_process_decides_whatever_others_say(
    breakers: Breakers, clock: Clock
) -> None:
    breakers.open_from_afar("database", 5)
    clock.now += 5
    with breakers.around("database", "Company_list"):
        assert not breakers.open_from_afar("database", 5)
        breakers.close_from_afar("database")
        refusal(breakers, "database", "x")

    breakers.check("database", "x")


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
