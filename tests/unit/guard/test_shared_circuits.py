"""Circuits of two replicas, in every order of events to a depth: one probe in all, none stuck."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterable
from itertools import product
from typing import Any, cast

import pytest

from kailash_mcp_prod.errors import CircuitOpenError, UnavailableError
from kailash_mcp_prod.guard.breaker import State
from kailash_mcp_prod.guard.breakers import Breakers, Passage
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_circuits import SharedCircuits
from tests.unit.guard.circuit_memory import CircuitMemory, MemoryConnection

NAME = "database"
RECOVERY, PAUSE, LEASE = 10.0, 1.0, 5.0
ENDINGS = {"works": None, "fails": UnavailableError("Away."), "is silent": ValueError("Wrong.")}
MOST_RUNNING = 2
DEPTH = 5


class Replica:
    """The circuits of a process, and its calls that run."""

    def __init__(self, memory: CircuitMemory, now: list[float]) -> None:
        self.connection = MemoryConnection(memory)
        self.breakers = Breakers(1, RECOVERY, lambda: now[0])
        self.circuits = SharedCircuits(
            self.breakers,
            cast(RedisConnection, self.connection),
            pause_seconds=PAUSE,
            lease_seconds=LEASE,
            clock=lambda: now[0],
        )
        self.running: list[Passage] = []
        # How many calls had worked anywhere when its circuit was last closed.
        self.worked_before = 0

    @property
    def is_closed(self) -> bool:
        breaker = self.breakers._breakers.get(NAME)
        return breaker is None or breaker.state is State.CLOSED

    @property
    def probe(self) -> Passage | None:
        return next((each for each in self.running if each.probes), None)

    def begin(self) -> bool:
        passage = self.breakers.around(NAME, "a")
        try:
            passage.__enter__()
        except CircuitOpenError:
            return False
        if passage.probes:
            try:
                at_once(passage.ask())
            except CircuitOpenError as refused:
                passage.__exit__(CircuitOpenError, refused, None)
                return False
        self.running.append(passage)
        return True

    def end(self, which: int, ending: str) -> None:
        raised = ENDINGS[ending]
        passage = self.running.pop(which)
        # What is wrong with the tool is another circuit's matter.
        passage._tool_number = -1
        passage.__exit__(None if raised is None else type(raised), raised, None)

    def exchange(self) -> None:
        at_once(self.circuits._exchange())


class World:
    """Two replicas and a Redis between them, led through events."""

    def __init__(self) -> None:
        self.now = [0.0]
        self.memory = CircuitMemory(lambda: round(self.now[0] * 1000))
        self.replicas = [Replica(self.memory, self.now) for _ in range(2)]
        # Probes that began, or went on, while there was no Redis that knew of them.
        self.excused: list[Passage] = []
        self.worked = 0

    def do(self, event: str) -> bool:
        """Whether the event was possible."""
        what, _, more = event.partition(" of ")
        if what == "time":
            self.wait()
            return True
        if what in {"Redis goes", "Redis forgets"}:
            self.excused += [each.probe for each in self.replicas if each.probe is not None]
            if what == "Redis forgets":
                self.memory.forget()
            for each in self.replicas:
                each.connection.up = what == "Redis forgets"
            return True
        at = int(more)
        replica = self.replicas[at]
        closed_before = [each.is_closed for each in self.replicas]
        if what == "begin":
            if len(replica.running) == MOST_RUNNING:
                return False
            self.begin(replica)
        elif what == "exchange":
            replica.exchange()
        elif what == "death":
            self.replicas[at] = Replica(self.memory, self.now)
            self.replicas[at].connection.up = replica.connection.up
            return True
        else:
            which, ending = what.split(" ", 1)
            if len(replica.running) < (1 if which == "first" else 2):
                return False
            self.worked += ending == "works"
            replica.end(0 if which == "first" else -1, ending)
        self.check(closed_before)
        return True

    def begin(self, replica: Replica) -> bool:
        open_until = self.memory.circuits.get(NAME)
        went = replica.begin()
        if went and replica.probe is replica.running[-1]:
            if not replica.connection.up:
                self.excused.append(replica.running[-1])
            elif open_until is not None:
                assert open_until <= self.memory.now(), "a probe before its time"
        return went

    def wait(self) -> None:
        self.now[0] += RECOVERY
        held = {token for each in self.replicas for token in each.circuits._held.values()}
        # What is held is renewed all the time.
        self.memory.lapse(held if self.replicas[0].connection.up else ())

    def check(self, closed_before: list[bool]) -> None:
        for replica, was_closed in zip(self.replicas, closed_before, strict=True):
            if was_closed and not replica.is_closed:
                replica.worked_before = self.worked
            elif replica.is_closed and not was_closed:
                assert self.worked > replica.worked_before, "closed, and nobody knows why"
        probes = [each.probe for each in self.replicas if each.probe is not None]
        assert sum(probe not in self.excused for probe in probes) <= 1, "two probes"

    def situation(self) -> tuple[object, ...]:
        """All that what follows depends on."""
        memory, now = self.memory, self.now[0]
        until = memory.circuits.get(NAME)
        leases = tuple(memory.leases.values())
        return (
            None if until is None else max(0, until - memory.now()),
            bool(leases),
            *(
                (
                    each.connection.up,
                    _news(each.circuits._news, now),
                    NAME in each.circuits._known,
                    each.circuits._memory == memory.name,
                    [token in leases for token in each.circuits._held.values()],
                    any(token in leases for token in each.circuits._over),
                    _state(each.breakers),
                    [_hears(each.breakers, passage) for passage in each.running],
                    each.probe in self.excused,
                )
                for each in self.replicas
            ),
        )

    def recovers(self) -> None:
        """From wherever it is, some call gets through, and what it finds out holds for all."""
        for each in self.replicas:
            each.connection.up = True
            while each.running:
                each.end(0, "is silent")
        for _ in range(3):
            self.wait()
            for each in self.replicas:
                each.exchange()
        begun = [each.begin() for each in self.replicas]
        assert any(begun), "nobody gets through"
        for each in self.replicas:
            while each.running:
                each.end(0, "works")
        for each in 2 * self.replicas:
            each.exchange()
        begun = [each.begin() for each in self.replicas]
        assert all(begun), "one stays open"


def at_once(step: Coroutine[Any, Any, Any]) -> None:
    """Runs what has nothing to wait for."""
    try:
        step.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def _news(news: dict[str, float | None], now: float) -> object:
    until = news.get(NAME, -1)
    return None if until is None else max(-1, until - now)


def _state(breakers: Breakers) -> object:
    breaker = breakers._breakers.get(NAME)
    return None if breaker is None else (breaker.state, breaker.seconds_left())


def _hears(breakers: Breakers, passage: Passage) -> bool:
    breaker = breakers._breakers.get(NAME)
    return (0 if breaker is None else breaker._number) == passage._backend_number


def led(events: Iterable[str]) -> tuple[World, bool]:
    world = World()
    possible = [world.do(event) for event in events]
    return world, all(possible)


EVENTS = (
    "time",
    "Redis goes",
    "Redis forgets",
    *(
        f"{what} of {which}"
        for what, which in product(
            ("begin", *(f"{at} {how}" for at in ("first", "last") for how in ENDINGS), "exchange"),
            range(2),
        )
    ),
    "death of 1",
)


# Both replicas know that the circuit is open, and that its time is over.
HALF_OPEN = (
    *("begin of 0", "first fails of 0", "exchange of 0", "exchange of 1", "time"),
    *("exchange of 0", "exchange of 1"),
)


@pytest.mark.timeout(60)
def test_in_every_order_of_events_there_is_one_probe_and_no_circuit_is_stuck(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, logger="kailash_mcp_prod.guard.breakers")
    prefixes: list[tuple[str, ...]] = [(), HALF_OPEN]
    seen: set[str] = set()
    for _ in range(DEPTH):
        longer = []
        for prefix, event in product(prefixes, EVENTS):
            world, possible = led((*prefix, event))
            if not possible:
                continue
            situation = repr(world.situation())
            if situation not in seen:
                # What follows depends on nothing else.
                seen.add(situation)
                longer.append((*prefix, event))
                world.recovers()
        prefixes = longer
    assert len(seen) > 500


def test_no_probe_is_sent_where_another_replica_has_closed_the_circuit_since() -> None:
    world, possible = led(
        (
            *("begin of 0", "first fails of 0", "exchange of 0", "exchange of 1", "time"),
            *("begin of 1", "first works of 1", "exchange of 1"),
        )
    )
    assert possible
    one = world.replicas[0]
    assert not one.is_closed

    assert one.begin()

    assert one.probe is None
    assert one.is_closed


def half_open() -> World:
    world, possible = led(HALF_OPEN)
    assert possible
    return world


def test_a_probe_that_is_refused_waits_for_a_look_and_holds_no_lease() -> None:
    world = half_open()
    one, other = world.replicas
    assert one.begin()

    assert not other.begin()

    assert other.breakers.seconds_left(NAME) == PAUSE
    other.exchange()
    assert world.memory.named == []
    one.exchange()
    assert len(world.memory.leases) == 1
    assert world.memory.named == [*world.memory.leases.values()]


def test_a_probe_that_was_not_asked_for_has_no_lease_to_give_back() -> None:
    world = half_open()
    one = world.replicas[0]
    one.breakers.open_from_afar("tool:a", 0)
    world.memory.circuits["tool:a"] = world.memory.now() + 2_000

    assert not one.begin()

    assert one.breakers.unclosed() == {"tool:a": 2, NAME: 0}
    assert world.memory.leases == {}


@pytest.mark.parametrize("seconds_away", [LEASE - 1, LEASE])
def test_a_probe_that_ends_while_redis_is_away_gives_its_lease_back_while_that_lasts(
    seconds_away: float,
) -> None:
    world = half_open()
    one = world.replicas[0]
    assert one.begin()
    one.connection.up = False
    one.end(0, "works")
    world.now[0] += seconds_away
    one.exchange()

    one.connection.up = True
    one.exchange()

    given_back = seconds_away < LEASE
    assert len(world.memory.named) == given_back
    assert len(world.memory.leases) == 1 - given_back
    one.exchange()
    assert world.memory.named == []


def test_what_others_found_does_not_outweigh_a_later_failure_that_nobody_has_heard_of() -> None:
    world = half_open()
    one, other = world.replicas
    one.connection.up = False
    assert other.begin()
    other.end(0, "works")
    other.exchange()
    assert one.begin()
    one.end(0, "fails")
    world.now[0] += RECOVERY
    one.connection.up = True

    assert one.begin()

    assert one.probe is not None


def test_a_memory_is_told_apart_by_a_number_later_than_any_time_and_never_rounded() -> None:
    world = World()
    one, memory = world.replicas[0], world.memory
    for _ in range(200):
        memory.forget()
        one.exchange()

        assert 2**51 <= int(memory.name) < 2**52


def test_of_several_circuits_each_is_told_with_its_time() -> None:
    one, other = World().replicas
    for name, seconds in (("a", 10.0), ("b", 20.0), ("c", 0.5)):
        one.circuits.turned(name, seconds)
    one.exchange()
    other.exchange()
    assert other.breakers.unclosed() == {"a": 10, "b": 20, "c": 0.5}

    one.circuits.turned("b", 0)
    one.exchange()
    other.exchange()

    assert other.breakers.unclosed() == {"a": 10, "c": 0.5}


def test_what_turns_while_something_is_told_is_told_after_it() -> None:
    one, other = World().replicas
    one.circuits.turned("a", 10.0)
    one.connection.meanwhile = lambda: one.circuits.turned("a", 0)
    one.exchange()
    one.connection.meanwhile = lambda: None

    one.exchange()
    other.exchange()

    assert one.breakers.unclosed() == other.breakers.unclosed() == {}


def test_circuits_that_never_started_stop() -> None:
    at_once(World().replicas[0].circuits.stop())
