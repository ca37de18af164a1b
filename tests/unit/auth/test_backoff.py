"""How long somebody who does not answer is left alone."""

from __future__ import annotations

from kailash_mcp_prod.auth.backoff import Backoff


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_up_to_half_a_minute() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    pauses = []
    for _ in range(8):
        assert backoff.attempt()
        backoff.failed()
        assert not backoff.attempt()
        pauses.append(backoff.wait_seconds())
        clock.now += pauses[-1]

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_success_ends_it() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    backoff.failed()
    backoff.failed()
    clock.now += 2
    assert backoff.attempt()
    backoff.succeeded()

    assert backoff.attempt()
    assert backoff.attempt()
    backoff.failed()
    assert backoff.wait_seconds() == 1


def test_a_few_failures_may_make_no_pause() -> None:
    backoff = Backoff(2, Clock())
    for _ in range(2):
        backoff.failed()
        assert backoff.attempt()
    backoff.failed()
    assert not backoff.attempt()


def test_after_a_pause_one_attempt_goes_ahead() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    backoff.failed()
    clock.now += 1

    assert backoff.attempt()
    assert not backoff.attempt()
    # Nobody has said how it ended.
    clock.now += 1
    assert backoff.attempt()
