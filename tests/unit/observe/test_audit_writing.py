from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.observe import audit_writing
from kailash_mcp_prod.observe.audit_chain import Draft
from kailash_mcp_prod.observe.audit_writing import AuditWriter


def draft(number: int) -> Draft:
    return Draft(float(number), "w", "t", "", "ok", "", "", "{}")


class Table:
    """Takes entries while it is open, and only then."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.failures: list[Exception] = []

    async def append(self, drafts: Sequence[Draft]) -> None:
        self.asked.set()
        if self.failures:
            raise self.failures.pop()
        await self.open.wait()
        self.batches.append([each.at for each in drafts])


async def test_what_comes_meanwhile_is_stored_together() -> None:
    table = Table()
    writer = AuditWriter(table.append)
    first = asyncio.create_task(writer.keep(draft(0)))
    await table.asked.wait()
    others = [asyncio.create_task(writer.keep(draft(n))) for n in range(1, 6)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in (first, *others))
    table.open.set()

    assert all(await asyncio.gather(first, *others))
    assert table.batches == [[0.0], [1.0, 2.0, 3.0, 4.0, 5.0]]


async def test_a_batch_is_bounded_and_the_order_kept() -> None:
    table = Table()
    table.open.set()
    writer = AuditWriter(table.append)
    for number in range(600):
        writer.put(draft(number))
    await writer.close(5)

    assert [len(each) for each in table.batches] == [256, 256, 88]
    assert [at for batch in table.batches for at in batch] == list(range(600))
    assert writer.backlog == 0


@pytest.mark.parametrize("failure", [UnavailableError("Gone."), TimeoutError(), ValueError("bug")])
async def test_what_can_t_be_stored_is_said_and_stored_later(failure: Exception) -> None:
    table = Table()
    table.failures = [failure]
    writer = AuditWriter(table.append)

    assert not await writer.keep(draft(1))
    assert writer.is_failing
    assert writer.backlog == 1
    table.open.set()
    assert await writer.keep(draft(2))
    assert not writer.is_failing
    assert [at for batch in table.batches for at in batch] == [1.0, 2.0]


async def test_a_cancelled_call_s_entry_is_stored_all_the_same() -> None:
    table = Table()
    writer = AuditWriter(table.append)
    waiting = asyncio.create_task(writer.keep(draft(1)))
    await table.asked.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    table.open.set()
    await writer.close(5)

    assert waiting.cancelled()
    assert table.batches == [[1.0]]


async def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writing, "MAX_WAITING", 2)
    writer = AuditWriter(Table().append)
    writer.put(draft(1))
    assert not writer.is_full
    kept = asyncio.create_task(writer.keep(draft(2)))
    await asyncio.sleep(0)
    assert writer.is_full
    await writer.close(0.01)

    assert not await kept
    assert writer.backlog == 0
    await writer.close(0.01)
