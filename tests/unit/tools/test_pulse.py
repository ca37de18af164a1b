from __future__ import annotations

import asyncio

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.tools.pulse import Pulse


class Database:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []

    async def ping(self) -> None:
        self.asked.append(asyncio.get_running_loop().create_future())
        await self.asked[-1]

    async def settle(self, *, well: bool) -> None:
        """Lets all who ask come so far, then answers."""
        for _ in range(3):
            await asyncio.sleep(0)
        if well:
            self.asked[-1].set_result(None)
        else:
            self.asked[-1].set_exception(UnavailableError("Away."))


async def test_who_waits_for_an_answer_does_not_ask_once_more() -> None:
    database = Database()
    pulse = Pulse(lambda: database)
    asking = [asyncio.create_task(pulse.answers()) for _ in range(50)]

    await database.settle(well=False)

    assert await asyncio.gather(*asking) == [False] * 50
    assert await pulse.answers() is False
    assert len(database.asked) == 1


async def test_what_was_known_before_does_not_count_where_it_is_asked_anew() -> None:
    database = Database()
    pulse = Pulse(lambda: database)
    first = asyncio.create_task(pulse.answers())
    await database.settle(well=True)
    assert await first

    asking = [asyncio.create_task(pulse.answers(anew=True)) for _ in range(50)]
    # Those that came while the first one asked wait for the next answer, and all for the same.
    await database.settle(well=True)
    await database.settle(well=False)

    assert await asyncio.gather(*asking) == [True] + [False] * 49
    assert len(database.asked) == 3


async def test_nothing_to_ask_is_no_answer() -> None:
    assert not await Pulse(lambda: None).answers()
