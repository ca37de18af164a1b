"""What one process knows of its own writes; with others, it is tried with a Redis."""

from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.guard.changes import Changes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def lost_write(changes: Changes, table: str) -> None:
    with pytest.raises(UnavailableError):
        async with changes.writing(table):
            raise UnavailableError("lost", details={"outcome": "unknown"})


async def test_a_write_changes_the_state_as_it_begins_and_as_it_ends() -> None:
    changes = Changes()
    before = await changes.stamp("t")
    async with changes.writing("t"):
        during = await changes.stamp("t")
    after = await changes.stamp("t")

    assert len({before, during, after}) == 3
    assert after is not None
    assert before is not None
    assert [changes.is_current("t", stamp) for stamp in (before, after)] == [False, True]


async def test_tables_that_nobody_writes_stay_in_their_state() -> None:
    changes = Changes()
    changes.learn({"parents": frozenset({"parents", "children"})})
    before = [await changes.stamp(table) for table in ("parents", "children", "others")]
    async with changes.writing("parents"):
        pass
    after = [await changes.stamp(table) for table in ("parents", "children", "others")]

    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]


async def test_a_write_without_a_known_end_leaves_its_table_in_doubt_for_a_minute(
    clock: Clock,
) -> None:
    changes = Changes(clock=clock)
    await lost_write(changes, "t")

    clock.now = 59.9
    assert await changes.stamp("t") is None
    assert await changes.stamp("u") is not None
    clock.now = 60
    assert [await changes.stamp("t") for _ in range(2)] == [(2, ""), (2, "")]


async def test_the_end_of_one_doubt_ends_no_other(clock: Clock) -> None:
    changes = Changes(clock=clock)
    await lost_write(changes, "early")
    clock.now = 30
    await lost_write(changes, "late")

    clock.now = 60
    assert await changes.stamp("early") is not None
    assert await changes.stamp("late") is None


@pytest.mark.parametrize("details", [None, {}, {"outcome": "not stored"}])
async def test_a_write_that_is_known_to_have_failed_leaves_no_doubt(
    details: dict[str, str] | None,
) -> None:
    changes = Changes()
    with pytest.raises(UnavailableError):
        async with changes.writing("t"):
            raise UnavailableError("refused", details=details)

    assert await changes.stamp("t") is not None


async def test_a_process_of_its_own_is_always_well_and_has_nothing_to_stop() -> None:
    changes = Changes()
    changes.on_doubt(lambda: pytest.fail("nobody else writes"))
    async with asyncio.timeout(5):
        await changes.stop()

    assert changes.is_well


async def test_the_state_is_known_here_unless_it_is_in_doubt(clock: Clock) -> None:
    changes = Changes(doubt_seconds=60, clock=clock)
    assert changes.stamp_here("companies") == await changes.stamp("companies")
    with pytest.raises(UnavailableError):
        async with changes.writing("companies"):
            raise UnavailableError("The database is away.", details={"outcome": "unknown"})

    assert changes.stamp_here("companies") is None
    assert changes.stamp_here("people") is not None
    clock.now += 60
    assert changes.stamp_here("companies") == await changes.stamp("companies")
