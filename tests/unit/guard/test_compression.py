from __future__ import annotations

import random

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


@pytest.mark.parametrize("length", [0, 1, THRESHOLD_BYTES - 1])
async def test_short_texts_are_left_as_they_are(length: int) -> None:
    body = b"a" * length

    assert await Compression().compress(body) == (body, 0)


@pytest.mark.parametrize("length", [THRESHOLD_BYTES, HERE + 1])
async def test_what_gets_hardly_smaller_is_left_as_it_is(length: int) -> None:
    body = random.Random(7).randbytes(length)

    assert await Compression().compress(body) == (body, 0)
