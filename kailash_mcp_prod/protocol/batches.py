"""How much the answer to a batch may be: it is one text, and held whole."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol.messages import Reply, Request

MAX_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 8
_SMALL: Final = 64 * 1024


class BatchBudget:
    """The bytes of one batch's answer, and the places in which its requests run."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._left = MAX_BYTES

    def places_for(self, item: Any) -> AbstractAsyncContextManager[None]:
        """A place for a request; notifications, which may cancel one, need none."""
        return self._places if isinstance(item, Request) else nullcontext()

    def covers(self, reply: Reply) -> bool:
        """Whether there is room for a reply; a small one always has it: it may tell of a write."""
        if len(reply.body) > max(self._left, _SMALL):
            return False
        self._left -= len(reply.body)
        return True

    @staticmethod
    def exceeded() -> OverloadedError:
        """The error that stands in place of a reply without room."""
        return OverloadedError(
            f"The batch has more than {MAX_BYTES // 2**20} MiB of answers. Ask for this one alone."
        )
