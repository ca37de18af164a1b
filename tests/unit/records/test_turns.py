from __future__ import annotations

import pytest

from kailash_mcp_prod.records.turns import FairQueue, caller


def test_callers_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue[str]()
    assert not queue
    for name, items in {"a": "12345", "b": "12", "c": "1"}.items():
        before = caller.set(name)
        for item in items:
            queue.append(f"{name}{item}")
        caller.reset(before)

    taken = [queue.popleft() for _ in range(8)]

    assert taken == ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"]
    assert not queue
    with pytest.raises(IndexError):
        queue.popleft()


def test_who_comes_later_is_next() -> None:
    queue = FairQueue[str]()
    for number in range(3):
        queue.append(f"many{number}")
    assert queue.popleft() == "many0"
    before = caller.set("late")
    queue.append("late")
    caller.reset(before)

    assert [queue.popleft() for _ in range(3)] == ["many1", "late", "many2"]
