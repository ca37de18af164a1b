from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import RateLimitedError
from kailash_mcp_prod.guard.rates import RateLimit

ALICE = Principal("alice", frozenset())
BOB = Principal("bob", frozenset())
SLOW = Principal("slow", frozenset(), rate_limit=1)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def refusal(rates: RateLimit, principal: Principal) -> RateLimitedError:
    with pytest.raises(RateLimitedError) as refused:
        await rates.take(principal)
    return refused.value


async def taken(rates: RateLimit, principal: Principal, times: int) -> None:
    for _ in range(times):
        await rates.take(principal)


async def test_calls_beyond_the_limit_are_refused_with_the_time_to_wait(clock: Clock) -> None:
    rates = RateLimit(3, clock)
    await taken(rates, ALICE, 3)
    clock.now += 10.5

    error = await refusal(rates, ALICE)

    assert error.retry_after_seconds == 50
    assert "More than 3 calls in a minute. Wait 50 s" in error.message


async def test_who_waits_as_told_may_call_and_not_a_second_earlier(clock: Clock) -> None:
    rates = RateLimit(2, clock)
    await rates.take(ALICE)
    clock.now += 30
    await rates.take(ALICE)
    wait = (await refusal(rates, ALICE)).retry_after_seconds
    assert wait == 30

    clock.now += wait - 1
    await refusal(rates, ALICE)
    clock.now += 1
    await rates.take(ALICE)
    await refusal(rates, ALICE)


async def test_the_window_moves_so_that_no_minute_holds_more(clock: Clock) -> None:
    rates = RateLimit(4, clock)
    clock.now = 1_079.0
    await taken(rates, ALICE, 4)
    clock.now = 1_081.0

    await refusal(rates, ALICE)


async def test_each_principal_has_a_limit_of_its_own(clock: Clock) -> None:
    rates = RateLimit(2, clock)
    await taken(rates, ALICE, 2)
    await refusal(rates, ALICE)

    await taken(rates, BOB, 2)
    await rates.take(SLOW)
    assert "More than 1 calls" in (await refusal(rates, SLOW)).message


async def test_refused_calls_do_not_count(clock: Clock) -> None:
    rates = RateLimit(1, clock)
    await rates.take(ALICE)
    for _ in range(59):
        clock.now += 1
        await refusal(rates, ALICE)
    clock.now += 1

    await rates.take(ALICE)


async def test_principals_of_the_last_minute_are_forgotten_when_it_is_over(clock: Clock) -> None:
    rates = RateLimit(10, clock)
    for number in range(10_000):
        await rates.take(Principal(f"agent-{number}", frozenset()))
    clock.now += 30
    await rates.take(ALICE)
    clock.now += 31

    await rates.take(BOB)

    assert set(rates._windows._calls) == {"alice", "bob"}


async def test_one_who_comes_back_after_a_long_time_is_welcome(clock: Clock) -> None:
    rates = RateLimit(1, clock)
    for _ in range(3):
        await rates.take(ALICE)
        clock.now += 3600


async def test_no_more_calls_are_remembered_than_were_allowed(clock: Clock) -> None:
    rates = RateLimit(5, clock)
    await taken(rates, ALICE, 5)
    for _ in range(100):
        await refusal(rates, ALICE)

    assert len(rates._windows._calls["alice"]) == 5


async def test_all_principals_together_have_a_limit_too(clock: Clock) -> None:
    rates = RateLimit(10, clock, everybody=3)
    await taken(rates, ALICE, 2)
    await rates.take(BOB)
    clock.now += 20

    error = await refusal(rates, BOB)

    assert error.retry_after_seconds == 40
    assert "All clients together made more than 3 calls" in error.message


async def test_kinds_of_calls_have_limits_of_their_own(clock: Clock) -> None:
    rates = RateLimit(10, clock, kinds={"bulk": 2})
    for _ in range(2):
        await rates.take(ALICE, "bulk")

    with pytest.raises(RateLimitedError, match="More than 2 calls of the kind bulk in a minute"):
        await rates.take(ALICE, "bulk")
    await rates.take(BOB, "bulk")
    await rates.take(ALICE, "read")


async def test_a_call_that_one_limit_refuses_counts_against_no_other(clock: Clock) -> None:
    rates = RateLimit(3, clock, everybody=4, kinds={"bulk": 1})
    await rates.take(ALICE, "bulk")
    for _ in range(50):
        with pytest.raises(RateLimitedError):
            await rates.take(ALICE, "bulk")

    await taken(rates, ALICE, 2)
    await refusal(rates, ALICE)
    await rates.take(BOB)


async def test_the_advice_holds_for_all_limits_at_once(clock: Clock) -> None:
    rates = RateLimit(1, clock, everybody=2, kinds={"write": 1})
    await rates.take(BOB, "write")
    clock.now += 30
    await rates.take(ALICE, "write")

    error = await refusal(rates, ALICE)

    assert error.retry_after_seconds == 60
    clock.now += 60
    await rates.take(ALICE, "write")


async def test_one_can_be_refused_without_being_counted(clock: Clock) -> None:
    rates = RateLimit(1, clock)
    for _ in range(3):
        rates.check(ALICE)
    await rates.take(ALICE)

    with pytest.raises(RateLimitedError):
        rates.check(ALICE)


async def test_credentials_of_one_subject_count_together_each_against_its_own_limit(
    clock: Clock,
) -> None:
    rates = RateLimit(100, clock)
    wide, narrow = (Principal("one", frozenset(), rate_limit=limit) for limit in (5, 2))
    await taken(rates, wide, 3)
    await refusal(rates, narrow)
    await taken(rates, wide, 2)

    assert (await refusal(rates, wide)).retry_after_seconds == 60


def test_without_redis_the_storage_is_memory() -> None:
    assert RateLimit(1).health() == {"status": "healthy", "storage": "memory"}


async def test_nobody_is_told_to_wait_for_less_than_a_second(clock: Clock) -> None:
    rates = RateLimit(1, clock)
    await rates.take(ALICE)
    clock.now += 59.75

    assert (await refusal(rates, ALICE)).retry_after_seconds == 1


async def test_refusals_are_counted_by_whose_limit_it_was(clock: Clock) -> None:
    rates = RateLimit(2, clock, everybody=3, kinds={"bulk": 1})
    await rates.take(ALICE, "bulk")
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            await rates.take(ALICE, "bulk")
    await rates.take(ALICE)
    for _ in range(3):
        await refusal(rates, ALICE)
    await rates.take(BOB)
    await refusal(rates, BOB)
    with pytest.raises(RateLimitedError):
        rates.check(BOB)

    assert rates.refusals == {"bulk": 2, "principal": 3, "everybody": 2}


async def test_usage_tells_a_principal_what_it_has_used_of_each_of_its_own_limits(
    clock: Clock,
) -> None:
    rates = RateLimit(10, clock, everybody=50, kinds={"bulk": 4, "write": 5})
    await rates.take(ALICE, "bulk")
    clock.now += 40
    await rates.take(ALICE, "bulk")
    await rates.take(ALICE, "read")
    await rates.take(BOB, "write")

    assert rates.usage(ALICE) == [("", 3, 10), ("bulk", 2, 4), ("write", 0, 5)]
    assert rates.usage(SLOW) == [("", 0, 1), ("bulk", 0, 4), ("write", 0, 5)]
    clock.now += 20
    assert rates.usage(ALICE) == [("", 2, 10), ("bulk", 1, 4), ("write", 0, 5)]


async def test_what_everybody_has_used_is_told_where_there_is_such_a_limit(clock: Clock) -> None:
    assert RateLimit(10, clock).everybody() is None

    rates = RateLimit(10, clock, everybody=5)
    await taken(rates, ALICE, 2)
    await rates.take(BOB)

    assert rates.everybody() == (3, 5)
    clock.now += 60
    assert rates.everybody() == (0, 5)


async def test_what_is_left_of_each_limit_that_binds_a_call_is_told_by_name(clock: Clock) -> None:
    rates = RateLimit(10, clock, everybody=50, kinds={"bulk": 4, "write": 5})
    await rates.take(ALICE, "bulk")
    await rates.take(BOB, "bulk")

    both = [("to the caller", 9, 10), ("to everybody", 48, 50)]
    assert rates.left(ALICE) == both
    assert rates.left(ALICE, "read") == both
    assert rates.left(ALICE, "bulk") == [*both, ("of the kind bulk", 3, 4)]


async def test_nothing_is_left_to_one_who_made_more_calls_with_a_wider_credential(
    clock: Clock,
) -> None:
    rates = RateLimit(10, clock)
    wide, narrow = (Principal("one", frozenset(), rate_limit=limit) for limit in (5, 2))
    await taken(rates, wide, 4)

    assert rates.left(narrow) == [("to the caller", 0, 2)]
    assert rates.left(wide) == [("to the caller", 1, 5)]


async def test_room_is_there_until_the_limit_and_counts_when_told(clock: Clock) -> None:
    rates = RateLimit(2, clock, everybody=100, kinds={"read": 3})
    for _ in range(5):
        room = rates.room(BOB, "read")
        assert room is not None
    rates.count(room)
    await rates.take(BOB, "read")

    assert rates.room(BOB, "read") is None
    assert rates.usage(BOB) == [("", 2, 2), ("read", 2, 3)]
    assert rates.everybody() == (2, 100)
    clock.now += 60
    assert rates.room(BOB, "read") is not None


async def test_there_is_no_room_where_only_the_kind_is_used_up(clock: Clock) -> None:
    rates = RateLimit(10, clock, kinds={"write": 1})
    room = rates.room(BOB, "write")
    assert room is not None
    rates.count(room)

    assert rates.room(BOB, "write") is None
    assert rates.room(BOB, None) is not None
