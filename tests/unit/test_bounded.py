from __future__ import annotations

from kailash_mcp_prod.bounded import BoundedMemo


def test_a_value_is_made_once() -> None:
    memo = BoundedMemo[str, list[int]](2)

    assert memo.get("a", lambda: [1]) is memo.get("a", lambda: [2])


def test_the_oldest_value_goes_first() -> None:
    memo = BoundedMemo[str, int](2)
    for position, key in enumerate("abc"):
        memo.get(key, lambda position=position: position)  # type: ignore[misc]

    assert len(memo) == 2
    assert memo.get("c", lambda: 9) == 2
    assert memo.get("a", lambda: 9) == 9


def test_nothing_is_left_after_clear() -> None:
    memo = BoundedMemo[str, int](2)
    memo.get("a", lambda: 1)
    memo.clear()

    assert len(memo) == 0
    assert memo.get("a", lambda: 2) == 2
