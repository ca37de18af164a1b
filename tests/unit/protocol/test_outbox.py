from __future__ import annotations

import asyncio

from kailash_mcp_prod.protocol.outbox import Outbox


async def test_messages_come_out_in_order() -> None:
    outbox = Outbox()
    outbox.put(b"a")
    outbox.put(b"b")

    assert [await outbox.get(), await outbox.get()] == [b"a", b"b"]


async def test_equal_messages_that_wait_are_merged() -> None:
    outbox = Outbox()
    outbox.put(b"changed")
    outbox.put(b"changed")
    outbox.close()

    assert [await outbox.get(), await outbox.get()] == [b"changed", None]


async def test_a_full_box_drops_the_oldest_message() -> None:
    outbox = Outbox(limit=2)
    for message in (b"a", b"b", b"c"):
        outbox.put(message)

    assert [await outbox.get(), await outbox.get()] == [b"b", b"c"]


async def test_each_message_reaches_exactly_one_reader() -> None:
    outbox = Outbox()
    readers = [asyncio.create_task(outbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    outbox.put(b"a")
    outbox.put(b"b")
    outbox.close()

    assert sorted(map(str, await asyncio.gather(*readers))) == ["None", "b'a'", "b'b'"]


async def test_a_closed_box_takes_nothing_and_wakes_its_readers() -> None:
    outbox = Outbox()
    reader = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.close()
    outbox.put(b"late")

    assert await reader is None
    assert await outbox.get() is None
