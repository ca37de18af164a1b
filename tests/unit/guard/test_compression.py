from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from kailash_mcp_prod.guard.compression import THRESHOLD_BYTES, Compression

HERE = 64 * 1024


@pytest.mark.parametrize("length", [THRESHOLD_BYTES, HERE, HERE + 1, 500_000])
async def test_long_texts_are_made_smaller_and_come_back_as_they_were(length: int) -> None:
    compression = Compression()
    body = b"0123456789" * (length // 10) + b"!" * (length % 10)

    smaller, plain_size = await compression.compress(body)

    assert plain_size == length
    assert len(smaller) < length // 10
    assert await compression.decompress(smaller, plain_size) == body


async def test_only_what_is_very_long_leaves_the_event_loop_to_others_meanwhile() -> None:
    compression = Compression()
    for length, waits in ((HERE, False), (HERE + 1, True)):
        smaller, plain_size = await compression.compress(bytes(length))

        assert await others_ran_during(compression.compress(bytes(length))) is waits
        assert await others_ran_during(compression.decompress(smaller, plain_size)) is waits


async def others_ran_during(work: Coroutine[Any, Any, object]) -> bool:
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await work
    return bool(ran)


@pytest.mark.parametrize("length", [0, 1, THRESHOLD_BYTES - 1])
async def test_short_texts_are_left_as_they_are(length: int) -> None:
    body = b"a" * length

    assert await Compression().compress(body) == (body, 0)


@pytest.mark.parametrize("length", [THRESHOLD_BYTES, HERE + 1])
async def test_what_gets_hardly_smaller_is_left_as_it_is(length: int) -> None:
    body = random.Random(7).randbytes(length)

    assert await Compression().compress(body) == (body, 0)
