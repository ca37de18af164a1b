"""A gzip stream around a part that was compressed before."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.spliced_gzip import CompressedPart

pieces = st.binary(max_size=50) | st.integers(0, 70_000).map(lambda size: b"abc" * (size // 3))


@given(before=pieces, part=pieces, after=pieces)
def test_any_reader_of_gzip_gets_the_whole_back(before: bytes, part: bytes, after: bytes) -> None:
    whole = before + part + after
    stream = CompressedPart(part).spliced(whole)
    assert stream is not None
    assert gzip.decompress(stream) == whole
    # One member alone, because many clients read no further.
    reader = zlib.decompressobj(31)
    assert reader.decompress(stream) == whole
    assert reader.eof
    assert not reader.unused_data


def test_where_the_part_does_not_stand_there_is_nothing_to_splice() -> None:
    assert CompressedPart(b"other").spliced(b"whole") is None


def test_the_part_is_compressed() -> None:
    part = CompressedPart(b'{"name": "Company_list"}' * 1000)
    stream = part.spliced(b"[" + part.body + b"]")
    assert stream is not None
    assert len(stream) < len(part.body) / 50
