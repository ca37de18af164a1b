"""Circuits that other replicas hear of, and ask about."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.errors import CircuitOpenError, UnavailableError
from kailash_mcp_prod.guard.breakers import Breakers
from tests.unit.guard.circuit_calls import RECOVERY, Clock, call, refusal


class Others:
    """The other replicas: hears what they would, and lets each probe wait for so long."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.wait: dict[str, float] = {}
        self.silent = False
        self.broken = False

    def turned(self, name: str, seconds: float) -> None:
        self.heard.append((name, seconds))

    async def probe_waits(self, name: str) -> float:
        self.asked.append(name)
        if self.silent:
            await asyncio.Event().wait()
        if self.broken:
            raise RuntimeError("A defect of theirs.")
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


async def test_what_goes_wrong_while_a_call_asks_says_nothing_of_what_it_did_not_reach(
    breakers: Breakers, clock: Clock, others: Others
) -> None:
    breakers.open_from_afar("database", 5)
    clock.now += 5
    others.broken = True

    for _ in range(3):
        with pytest.raises(RuntimeError):
            await asking_call(breakers)

    assert breakers.unclosed() == {"database": 0}
    assert breakers.states().keys() == {"database"}


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


def test_circuits_that_are_not_closed_are_told_with_the_time_to_their_probe(
    breakers: Breakers, clock: Clock
) -> None:
    assert breakers.open_from_afar("nexus", 5)
    assert breakers.open_from_afar("database", 20)
    call(breakers, ValueError("x"), tool="a", backend=None)
    clock.now += 5
    assert breakers.unclosed() == {"nexus": 0, "database": 15}

    with breakers.around("nexus", "b"):
        assert breakers.unclosed() == {"nexus": 0, "database": 15}
    assert breakers.unclosed() == {"database": 15}


def test_a_probe_that_is_about_to_be_sent_may_be_closed_from_afar(
    breakers: Breakers, clock: Clock
) -> None:
    breakers.close_from_afar("database", although_probing=True)
    breakers.open_from_afar("database", 5)
    clock.now += 5
    with breakers.around("database", "a") as passage:
        assert passage.probes
        breakers.close_from_afar("database", although_probing=True)
        assert not passage.probes
        breakers.check("database", "b")
    breakers.open_from_afar("database", 5)
    breakers.close_from_afar("database", although_probing=True)

    breakers.check("database", "b")


def test_closing_from_afar_what_is_closed_forgives_no_failure(breakers: Breakers) -> None:
    for _ in range(2):
        call(breakers, errors.UnavailableError("Away."))
    breakers.close_from_afar("database")
    breakers.close_from_afar("database", although_probing=True)
    call(breakers, errors.UnavailableError("Away."))

    refusal(breakers, "database", "a")


def test_it_is_logged_what_other_replicas_turned(
    breakers: Breakers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breakers.open_from_afar("database", 5.26)
    breakers.open_from_afar("database", 9)
    breakers.close_from_afar("database")
    breakers.close_from_afar("database")

    opened, closed = map(vars, caplog.records)
    assert (opened["message"], opened["levelname"]) == ("circuit_opened", "WARNING")
    assert (opened["circuit"], opened["seconds"]) == ("database", 5.3)
    assert (closed["message"], closed["levelname"]) == ("circuit_closed", "INFO")
    assert closed["circuit"] == "database"
    assert opened["by"] == closed["by"] == "another replica"


def test_the_lease_of_a_probe_goes_back_when_its_circuit_is_forgotten(
    breakers: Breakers, clock: Clock, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kailash_mcp_prod.guard.breakers._MOST", 1)
    breakers.open_from_afar("database", 5)
    clock.now += 5
    with breakers.around("database", "a"):
        call(breakers, ValueError("x"), tool="b", backend=None)
        assert others.ended == ["database"]

    call(breakers, ValueError("x"), tool="c", backend=None)
    assert others.ended == ["database"]


async def test_a_probe_of_a_tool_alone_is_asked_for_too(
    breakers: Breakers, clock: Clock, others: Others
) -> None:
    for _ in range(3):
        call(breakers, ValueError("x"), backend=None, tool="a")
    clock.now += RECOVERY
    others.wait["tool:a"] = 0.5

    with pytest.raises(CircuitOpenError, match="The tool a"):
        await asking_call(breakers)
    clock.now += 0.5
    del others.wait["tool:a"]
    with breakers.around(None, "a") as passage:
        assert passage.probes
        await passage.ask()

    assert others.asked == ["tool:a", "tool:a"]
    assert others.heard[-1] == ("tool:a", 0)


def test_a_call_that_is_no_probe_does_not_say_that_it_is_one(breakers: Breakers) -> None:
    with breakers.around("database", "a") as passage:
        assert not passage.probes
    breakers.open_from_afar("database", 5)
    breakers.close_from_afar("database")
    with breakers.around("database", "a") as passage:
        assert not passage.probes
    with breakers.around(None, "a") as passage:
        assert not passage.probes
