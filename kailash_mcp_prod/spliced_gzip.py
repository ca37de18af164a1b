"""Answers whose largest part was compressed long before, as one gzip stream.

The part is kept as DEFLATE blocks that end on a byte and refer to nothing before them (RFC 1951,
3.2.3), so stored blocks can stand around it. Only the check sum covers all of it (RFC 1952, 2.3.1).
"""

from __future__ import annotations

import struct
import zlib
from functools import cached_property
from typing import Final

_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_MAX_STORED: Final = 0xFFFF


class CompressedPart:
    """Bytes that stand in many answers, compressed once.

    Args:
        body: The bytes.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def blocks(self) -> bytes:
        """The bytes as DEFLATE blocks of which none is the last."""
        compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return compressor.compress(self.body) + compressor.flush(zlib.Z_FULL_FLUSH)

    def spliced(self, whole: bytes) -> bytes | None:
        """A gzip stream of bytes in which these stand; `None` where they do not."""
        start = whole.find(self.body)
        if start < 0:
            return None
        before, after = whole[:start], whole[start + len(self.body) :]
        return b"".join(
            (
                _HEAD,
                _stored(before, last=False),
                self.blocks,
                _stored(after, last=True),
                struct.pack("<LL", zlib.crc32(whole), len(whole) & 0xFFFFFFFF),
            )
        )


def _stored(data: bytes, *, last: bool) -> bytes:
    """The bytes as DEFLATE blocks without compression, at least one."""
    blocks = []
    for start in range(0, len(data) or 1, _MAX_STORED):
        some = data[start : start + _MAX_STORED]
        final = last and start + _MAX_STORED >= len(data)
        blocks.append(struct.pack("<BHH", final, len(some), len(some) ^ 0xFFFF) + some)
    return b"".join(blocks)
