from __future__ import annotations

import os
from pathlib import Path

import pytest

from kailash_mcp_prod.transports.stdio_streams import LineSplitter, open_sink, open_source


def split(splitter: LineSplitter, *chunks: bytes) -> list[bytes | None]:
    return [line for chunk in chunks for line in splitter.feed(chunk)]


def test_lines_are_found_across_chunks() -> None:
    splitter = LineSplitter(100)

    assert split(splitter, b"one\ntw", b"o\n", b"\n", b"rest") == [b"one", b"two", b""]
    assert list(splitter.finish()) == [b"rest"]
    assert list(splitter.finish()) == []


def test_a_line_of_the_longest_length_is_kept_and_a_longer_one_skipped() -> None:
    splitter = LineSplitter(4)

    assert split(splitter, b"1234\n12345\n1234\n") == [b"1234", None, b"1234"]


def test_a_line_that_grows_without_end_is_not_kept_in_memory() -> None:
    splitter = LineSplitter(4)
    for _ in range(1000):
        assert split(splitter, b"x" * 1000) == []

    assert sum(map(len, splitter._parts)) <= 4
    assert split(splitter, b"\nnext\n") == [None, b"next"]


def test_the_end_of_an_overlong_line_is_told_too() -> None:
    splitter = LineSplitter(4)
    split(splitter, b"123456")

    assert list(splitter.finish()) == [None]


async def test_a_file_is_read_and_written_like_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"hello")
    descriptor = os.open(path, os.O_RDWR)
    try:
        source, sink = await open_source(descriptor), await open_sink(descriptor)
        assert await source.read() == b"hello"
        assert await source.read() == b""
        await sink.write(b" world")
        await source.close()
        await sink.close()
    finally:
        os.close(descriptor)

    assert path.read_bytes() == b"hello world"


async def test_the_null_device_is_an_empty_input() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        source = await open_source(descriptor)
        assert await source.read() == b""
        await source.close()
    finally:
        os.close(descriptor)


async def test_a_pipe_blocks_again_after_it_was_used() -> None:
    incoming, outgoing = os.pipe()
    try:
        source, sink = await open_source(incoming), await open_sink(outgoing)
        await sink.write(b"x")
        assert await source.read() == b"x"
        await sink.close()
        await source.close()
        assert os.get_blocking(incoming)
        assert os.get_blocking(outgoing)
    finally:
        os.close(incoming)
        os.close(outgoing)


async def test_writing_to_a_pipe_that_nobody_reads_fails() -> None:
    incoming, outgoing = os.pipe()
    sink = await open_sink(outgoing)
    os.close(incoming)

    async def write_on() -> None:
        while True:
            await sink.write(b"x" * 65_536)

    with pytest.raises(BrokenPipeError):
        await write_on()
    await sink.close()
    os.close(outgoing)
