from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.transports.asgi import BodyTooLargeError, ClientGoneError
from kailash_mcp_prod.transports.body_budget import BodyBudget
from tests.unit.transports.sockets import until

LIMIT = 1000


class Upload:
    """A body that comes part by part."""

    def __init__(self, budget: BodyBudget, subject: str, declared: str | None = None) -> None:
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reading = asyncio.create_task(budget.read(self._incoming.get, declared, subject))

    async def part(self, size: int, *, more: bool = True) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})
        await until(self._incoming.empty)
        await asyncio.sleep(0)

    async def end(self) -> bytes:
        await self.part(0, more=False)
        return await self.reading

    async def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})
        with pytest.raises(ClientGoneError):
            await self.reading


async def begun(budget: BodyBudget, subject: str, count: int) -> list[Upload]:
    """Uploads with all their bytes, but no end."""
    uploads = [Upload(budget, subject) for _ in range(count)]
    for upload in uploads:
        await upload.part(LIMIT)
    return uploads


async def test_a_body_is_put_together() -> None:
    upload = Upload(BodyBudget(LIMIT), "ann")
    await upload.part(3)
    await upload.part(4)

    assert await upload.end() == b"x" * 7


async def test_one_client_has_a_quarter_of_the_room() -> None:
    budget = BodyBudget(LIMIT)
    uploads = await begun(budget, "ann", 4)
    fifth = Upload(budget, "ann")
    await fifth.part(1)
    with pytest.raises(OverloadedError) as refused:
        await fifth.reading
    assert refused.value.retry_after_seconds == 1

    others = await begun(budget, "bob", 4)
    for upload in uploads + others:
        assert len(await upload.end()) == LIMIT


async def test_all_clients_together_have_room_for_sixteen() -> None:
    budget = BodyBudget(LIMIT)
    uploads = [each for name in "abcd" for each in await begun(budget, name, 4)]
    late = Upload(budget, "e")
    await late.part(1)
    with pytest.raises(OverloadedError):
        await late.reading

    await uploads[0].end()
    assert len(await (await begun(budget, "e", 1))[0].end()) == LIMIT
    for upload in uploads[1:]:
        await upload.end()


async def test_a_body_that_says_its_length_is_refused_before_it_is_read() -> None:
    budget = BodyBudget(LIMIT)
    uploads = await begun(budget, "ann", 3)
    with pytest.raises(BodyTooLargeError):
        await Upload(budget, "ann", "1001").reading
    fits = Upload(budget, "ann", "1000")
    await fits.part(1)
    with pytest.raises(OverloadedError):
        await Upload(budget, "ann", "1000").reading

    for upload in [*uploads, fits]:
        await upload.end()


async def test_a_body_that_comes_whole_is_not_counted() -> None:
    budget = BodyBudget(LIMIT)
    uploads = await begun(budget, "ann", 4)
    whole = Upload(budget, "ann")
    await whole.part(LIMIT, more=False)

    assert len(await whole.reading) == LIMIT
    for upload in uploads:
        await upload.leave()


async def test_room_comes_back_however_the_reading_ends() -> None:
    budget = BodyBudget(LIMIT)
    for _ in range(5):
        gone, long, cancelled, done = await begun(budget, "ann", 4)
        await gone.leave()
        await long.part(1)
        with pytest.raises(BodyTooLargeError):
            await long.reading
        cancelled.reading.cancel()
        await asyncio.wait({cancelled.reading})
        await done.end()


async def test_the_longest_body_has_room_whatever_its_length() -> None:
    budget = BodyBudget(100 * 1024 * 1024)
    upload = Upload(budget, "ann", str(100 * 1024 * 1024))
    await upload.part(90 * 1024 * 1024)

    assert len(await upload.end()) == 90 * 1024 * 1024
