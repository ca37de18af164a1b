"""A bound on the nesting of a JSON text, checked before it is decoded."""

from __future__ import annotations

from typing import Final

MAX_COLLECTIONS: Final = 100_000
"""So many arrays and objects count as too deep: each is work for whoever looks at them."""

_STRUCTURAL: Final = b'"[]{}'
_REST: Final = bytes(byte for byte in range(256) if byte not in _STRUCTURAL)
_OPENING: Final = frozenset(b"[{")


def nests_deeper_than(limit: int, body: bytes) -> bool:
    """Whether arrays and objects nest deeper than `limit` before the first malformed token.

    Runs over the bytes without building anything, so that no parser has to recurse into a
    hostile text. On malformed JSON the answer is only sure up to the first error; the decoder
    stops there too.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    if b"\\" in body:
        # Pairs first: in a run of backslashes only an odd last one escapes what follows.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(body.translate(None, _REST).split(b'"')[::2])
    if len(outside_strings) > 2 * MAX_COLLECTIONS:
        return True
    depth = 0
    for byte in outside_strings:
        if byte in _OPENING:
            depth += 1
            if depth > limit:
                return True
        else:
            depth -= 1
    return False
