"""How long the place of a worker stays empty."""

from __future__ import annotations

from kailash_mcp_prod.workers.pauses import SETTLED_SECONDS, Pause


def test_workers_that_keep_dying_young_are_restarted_ever_later_up_to_a_bound() -> None:
    pause = Pause()
    pauses = [pause.after_death(SETTLED_SECONDS - 1) for _ in range(9)]

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_worker_that_served_for_long_is_restarted_at_once_and_resets_the_pause() -> None:
    pause = Pause()
    for _ in range(5):
        pause.after_death(0)

    assert pause.after_death(SETTLED_SECONDS) == 0
    assert pause.after_death(0) == 0.5


def test_one_that_can_not_start_counts_as_one_that_died_young() -> None:
    pause = Pause()
    pause.after_death(SETTLED_SECONDS)

    assert [pause.after_failure(), pause.after_death(1), pause.after_failure()] == [0.5, 1, 2]
