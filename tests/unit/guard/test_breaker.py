"""The state machine, against a model that keeps the whole history instead of a state."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kailash_mcp_prod.guard.breaker import Breaker, Outcome, State

THRESHOLD = 2
RECOVERY = 10.0
FAILED, WORKED, SILENT = Outcome.FAILED, Outcome.WORKED, Outcome.SAID_NOTHING


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Model:
    """What the rules say, worked out from all that happened."""

    now: float = 0.0
    in_a_row: int = 0
    open_until: float | None = None
    probe: int | None = None
    epoch: int = 0
    epoch_of: dict[int, int] = field(default_factory=dict)
    calls: int = 0

    def begin(self) -> int | None:
        if self.open_until is not None and (self.probe is not None or self.now < self.open_until):
            return None
        call = self.calls = self.calls + 1
        self.epoch_of[call] = self.epoch
        if self.open_until is not None:
            self.probe = call
        return call

    def end(self, call: int, outcome: Outcome) -> None:
        if self.probe is not None:
            if call != self.probe:
                return
            self.probe = None
            if outcome is WORKED:
                self._restart(None)
            elif outcome is FAILED:
                self._restart(self.now + RECOVERY)
            return
        if self.open_until is not None or self.epoch_of[call] != self.epoch:
            return
        if outcome is WORKED:
            self.in_a_row = 0
        elif outcome is FAILED:
            self.in_a_row += 1
            if self.in_a_row == THRESHOLD:
                self._restart(self.now + RECOVERY)

    def step_back(self, call: int) -> None:
        if call == self.probe:
            self.probe = None
            self._restart(self.now + RECOVERY)

    def _restart(self, open_until: float | None) -> None:
        self.open_until = open_until
        self.in_a_row = 0
        self.epoch += 1


class Run:
    """A breaker and its model, led through the same events."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(THRESHOLD, RECOVERY, self.clock)
        self.model = Model()
        self.running: list[tuple[int, int]] = []

    def do(self, event: str) -> bool:
        """Whether the event was possible; both must agree on what came of it."""
        if event == "begin" and len(self.running) == MOST_RUNNING:
            return False
        if event == "begin":
            number, call = self.breaker.admit(), self.model.begin()
            assert (number is None) == (call is None)
            if number is not None and call is not None:
                self.running.append((number, call))
        elif event == "wait":
            self.clock.now += RECOVERY
            self.model.now += RECOVERY
        else:
            which, outcome = event.split()
            if not self.running or (which == "last" and len(self.running) < 2):
                return False
            number, call = self.running.pop(0 if which == "first" else -1)
            assert self.breaker.is_probe(number) == (call == self.model.probe)
            if outcome == STEPS_BACK:
                self.breaker.step_back(number, RECOVERY)
                self.model.step_back(call)
                outcome = SILENT.name
            self.breaker.tell(number, Outcome[outcome])
            self.model.end(call, Outcome[outcome])
        state = self.breaker.state
        half_open = self.model.probe is not None
        assert (state is State.HALF_OPEN) == half_open
        assert (state is State.CLOSED) == (self.model.open_until is None)
        assert (self.breaker.seconds_left() > 0) == (
            self.model.open_until is not None
            and (half_open or self.model.now < self.model.open_until)
        )
        return True


STEPS_BACK = "STEPS_BACK"
ENDS = (*(outcome.name for outcome in Outcome), STEPS_BACK)
EVENTS = ("begin", "wait", *(f"{which} {end}" for which in ("first", "last") for end in ENDS))
DEPTH = 10
MOST_RUNNING = 4


def test_every_sequence_of_events_does_what_the_rules_say() -> None:
    """All of them to a depth, in which it can open, probe, fail, recover and open again."""
    reached = set()
    prefixes: list[tuple[str, ...]] = [()]
    for _ in range(DEPTH):
        longer = []
        for prefix in prefixes:
            for event in EVENTS:
                run = Run()
                if all([*(run.do(each) for each in prefix), run.do(event)]):
                    reached.add(run.breaker.state)
                    longer.append((*prefix, event))
        prefixes = _without_equals(longer)
    assert reached == set(State)


def _without_equals(sequences: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """One sequence for each situation: what follows depends on nothing else."""
    found = {}
    for each in sequences:
        run = Run()
        for event in each:
            run.do(event)
        breaker, model = run.breaker, run.model
        situation = (
            breaker.state,
            breaker.failures,
            breaker.seconds_left(),
            model.in_a_row,
            tuple(
                (
                    number == breaker._number,
                    model.epoch_of[call] == model.epoch,
                    call == model.probe,
                )
                for number, call in run.running
            ),
        )
        found.setdefault(situation, each)
    return list(found.values())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, RECOVERY, clock)


def call(breaker: Breaker, outcome: Outcome) -> None:
    number = breaker.admit()
    assert number is not None
    breaker.tell(number, outcome)


def opened(breaker: Breaker) -> None:
    for _ in range(3):
        call(breaker, FAILED)
    assert breaker.state is State.OPEN


def test_it_opens_after_failures_in_a_row_and_not_before(breaker: Breaker) -> None:
    for outcome in (FAILED, FAILED, WORKED, FAILED, SILENT, FAILED):
        call(breaker, outcome)
    assert breaker.state is State.CLOSED

    call(breaker, FAILED)

    assert breaker.state is State.OPEN
    assert breaker.admit() is None
    assert breaker.seconds_left() == RECOVERY


def test_exactly_one_probe_goes_through_when_the_time_is_over(
    breaker: Breaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += RECOVERY - 0.001
    assert breaker.admit() is None
    clock.now += 0.001

    admitted = [breaker.admit() for _ in range(20)]

    assert [number is not None for number in admitted] == [True] + [False] * 19


def test_a_probe_that_says_nothing_gives_its_place_to_the_next_call(
    breaker: Breaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += RECOVERY
    for _ in range(5):
        call(breaker, SILENT)
        assert breaker.seconds_left() == 0

    call(breaker, WORKED)

    assert breaker.state is State.CLOSED


def test_calls_that_began_before_it_opened_are_not_heard(breaker: Breaker, clock: Clock) -> None:
    early = [breaker.admit() for _ in range(4)]
    opened(breaker)
    clock.now += RECOVERY
    probe = breaker.admit()
    assert probe is not None
    for number, outcome in zip(early, (WORKED, FAILED, SILENT, WORKED), strict=True):
        assert number is not None
        breaker.tell(number, outcome)
        assert breaker.state is State.HALF_OPEN

    breaker.tell(probe, FAILED)

    assert breaker.state is State.OPEN
    assert breaker.seconds_left() == RECOVERY


def test_after_it_has_closed_it_counts_from_the_start(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += RECOVERY
    call(breaker, WORKED)

    call(breaker, FAILED)
    call(breaker, FAILED)

    assert breaker.state is State.CLOSED


def test_calls_from_before_are_not_heard_however_often_it_has_opened_and_closed(
    breaker: Breaker, clock: Clock
) -> None:
    for _ in range(3):
        early = [breaker.admit() for _ in range(2)]
        opened(breaker)
        clock.now += RECOVERY
        probe = breaker.admit()
        for number, outcome in zip(early, (WORKED, FAILED), strict=True):
            assert number is not None
            assert not breaker.is_probe(number)
            breaker.tell(number, outcome)
            assert breaker.state is State.HALF_OPEN

        assert probe is not None
        breaker.tell(probe, WORKED)
        assert breaker.state is State.CLOSED
