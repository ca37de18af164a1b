"""The ledger finds each kind of broken promise."""

from __future__ import annotations

import pytest

from tests.soak.ledger import Ledger, Note


def ledger() -> Ledger:
    return Ledger(
        {
            "kept": Note("t1", 1, tried=3, told=2),
            "unanswered": Note("t1"),
            "leaving": Note("t2", 2, going=True),
            "left": Note("t2", 3, going=True, gone=True),
        }
    )


@pytest.mark.parametrize(
    "rows",
    [
        [("t1", "kept", 2)],
        [("t1", "kept", 3), ("t1", "unanswered", 0), ("t2", "leaving", 0)],
    ],
)
def test_what_may_be_is_no_fault(rows: list[tuple[str, str, int]]) -> None:
    found = ledger()
    found.compare(rows)
    assert found.faults == []


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "kept was acknowledged and is lost"),
        ([("t1", "kept", 2)] * 2, "kept is there 2 times"),
        ([("t1", "kept", 1)], "kept has version 1, but 2 was acknowledged and 3 sent"),
        ([("t1", "kept", 4)], "kept has version 4, but 2 was acknowledged and 3 sent"),
        ([("t2", "kept", 2)], "kept is t2's, not t1's"),
        ([("t1", "kept", 2), ("t1", "made-up", 0)], "made-up was never sent"),
        ([("t1", "kept", 2), ("t2", "left", 0)], "left was deleted and is there"),
    ],
)
def test_a_broken_promise_is_one(rows: list[tuple[str, str, int]], fault: str) -> None:
    found = ledger()
    found.compare(rows)
    assert found.faults == [fault]
    assert found.summary()["first_faults"] == [fault]


def test_so_is_a_foreign_or_an_old_record() -> None:
    found = ledger()
    found.note({"name": "kept"}, "t1")
    found.fresh({"name": "kept", "version": 2}, 2)
    assert found.faults == []
    found.note({"name": "kept"}, "t2")
    found.note({"name": "of nobody"}, "t1")
    found.fresh({"name": "kept", "version": 1}, 2)
    assert found.faults == [
        "t2 was shown the foreign record kept",
        "t1 was shown the foreign record of nobody",
        "kept was shown in version 1 after 2",
    ]
