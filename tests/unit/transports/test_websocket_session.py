from __future__ import annotations

from kailash_mcp_prod.transports.websocket_session import MessageRate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_s_worth_of_messages_may_come_at_once() -> None:
    rate = MessageRate(3, Clock())

    assert [rate.take() for _ in range(4)] == [True, True, True, False]


def test_what_was_used_comes_back_with_time_and_not_more() -> None:
    clock = Clock()
    rate = MessageRate(4, clock)
    assert [rate.take() for _ in range(5)][-1] is False
    clock.now += 0.5
    assert [rate.take() for _ in range(3)] == [True, True, False]
    clock.now += 60

    assert [rate.take() for _ in range(5)] == [True, True, True, True, False]


def test_as_many_refusals_in_a_row_exhaust_it() -> None:
    clock = Clock()
    rate = MessageRate(2, clock)
    assert [rate.take() for _ in range(3)] == [True, True, False]
    assert not rate.exhausted
    clock.now += 0.5
    assert rate.take()
    assert [rate.take() for _ in range(2)] == [False, False]

    assert rate.exhausted
