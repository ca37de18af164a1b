from __future__ import annotations

from kailash_mcp_prod.guard.windows import WINDOW_SECONDS, Windows

ONE = ("one", 1)
MANY = ("many", 100)


def test_a_call_counts_until_exactly_a_window_later() -> None:
    windows = Windows()
    windows.add([ONE], 5.0)

    almost = 5.0 + WINDOW_SECONDS - 0.5
    assert windows.refusal([ONE], almost) == (ONE, 0.5)
    assert windows.used("one", almost) == 1
    assert windows.refusal([ONE], almost + 0.5) is None
    assert windows.used("one", almost + 0.5) == 0


def test_of_several_rules_that_refuse_the_one_that_does_so_longest_is_named() -> None:
    for order in (1, -1):
        windows = Windows()
        soon, later, idle = ("soon", 1), ("later", 1), ("idle", 1)
        windows.add([soon], 0.0)
        windows.add([later], 20.0)

        assert windows.refusal([soon, idle, MANY, later][::order], 30.0) == (later, 50.0)


def test_of_rules_that_refuse_equally_long_the_first_is_named() -> None:
    windows = Windows()
    rules = [("first", 1), ("second", 1)]
    windows.add(rules, 0.0)

    assert windows.refusal(rules, 1.0) == (rules[0], 59.0)


def test_a_rule_behind_one_that_has_room_refuses_all_the_same() -> None:
    windows = Windows()
    windows.add([MANY, ONE], 0.0)

    assert windows.refusal([("unknown", 1), MANY, ONE], 0.0) == (ONE, WINDOW_SECONDS)


def test_what_decides_is_the_call_as_many_ago_as_the_limit_allows() -> None:
    windows = Windows()
    for now in (0.0, 10.0, 20.0):
        windows.add([MANY], now)

    assert windows.refusal([("many", 2)], 30.0) == (("many", 2), 40.0)
    assert windows.refusal([("many", 4)], 30.0) is None


def test_nothing_is_used_under_a_key_that_nobody_knows() -> None:
    assert Windows().used("anyone", 0.0) == 0


def test_old_calls_are_forgotten_when_the_next_is_added_and_idle_keys_with_them() -> None:
    windows = Windows()
    for now in (0.0, 1.0, 2.0):
        windows.add([MANY], now)
    windows.add([ONE], 10.0)
    windows.add([MANY], 1.0 + WINDOW_SECONDS)

    assert list(windows._calls["many"]) == [2.0, 61.0]
    assert len(windows) == 2

    windows.add([MANY], 10.0 + WINDOW_SECONDS)
    assert len(windows) == 1
