"""A list of tools as the bytes that go out."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from kailash_mcp_prod.spliced_gzip import CompressedPart


class EncodedList:
    """A list of tools, encoded once; what else is asked of it is made once too.

    Args:
        tools: The tools as MCP `Tool` objects.
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self.body = msgspec.json.encode(tools)
        """The JSON array of the tools."""

    @cached_property
    def document(self) -> bytes:
        """The JSON object `{"tools": […]}`."""
        return b'{"tools":' + self.body + b"}"

    @cached_property
    def part(self) -> CompressedPart:
        """The JSON array, for what it is a part of."""
        return CompressedPart(self.body)

    @cached_property
    def gzipped(self) -> bytes:
        """The document, compressed with gzip; the same in every process."""
        return gzip.compress(self.document, mtime=0)

    @cached_property
    def fingerprint(self) -> str:
        """A text that is the same exactly for the same list, in every process."""
        return hashlib.sha256(self.body).hexdigest()[:32]
