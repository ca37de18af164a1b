from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import OverloadedError, RateLimitedError
from kailash_mcp_prod.observe.dashboard.doors import ALL_TRIES_A_MINUTE, TRIES_A_MINUTE, Doors


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_an_address_may_try_so_often_a_minute_and_keeps_no_other_out() -> None:
    clock = Clock()
    doors = Doors(clock=clock)

    for _ in range(TRIES_A_MINUTE):
        doors.try_from("192.0.2.1")
    with pytest.raises(RateLimitedError) as refused:
        doors.try_from("192.0.2.1")
    doors.try_from("192.0.2.2")

    assert refused.value.retry_after_seconds == 60
    clock.now += 60
    doors.try_from("192.0.2.1")


def test_all_addresses_together_may_try_so_often() -> None:
    doors = Doors(clock=Clock())

    for number in range(ALL_TRIES_A_MINUTE):
        doors.try_from(f"192.0.2.{number}")
    with pytest.raises(RateLimitedError):
        doors.try_from("198.51.100.1")


def test_so_many_dashboards_may_be_open_and_closed_ones_make_room() -> None:
    clock = Clock()
    doors = Doors(2, clock)

    doors.look("a")
    doors.look("b")
    doors.look("a")
    with pytest.raises(OverloadedError, match="2 dashboards are open"):
        doors.look("c")
    doors.leave("b")
    doors.look("c")
    clock.now += 20
    doors.look("d")
    assert doors.open == 1
