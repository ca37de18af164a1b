"""How many bytes of unfinished request bodies one transport holds."""

from __future__ import annotations

from typing import Final

from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.transports.asgi import Receive, read_body

_MOST: Final = 256 * 1024 * 1024
_BODIES: Final = 16
_SHARE: Final = 4
_RETRY_SECONDS: Final = 1


class BodyBudget:
    """Reads bodies, as long as what they hold meanwhile is within bounds.

    All together have room for sixteen of the longest, or 256 MiB if that is less; one client has
    a quarter of it, and always room for one. A body that comes whole is never counted.

    Args:
        limit: The longest body.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(limit, min(_MOST, limit * _BODIES) // _SHARE)
        self._free = self._share * _SHARE
        self._held: dict[str, int] = {}

    @property
    def longest(self) -> int:
        """How many bytes the longest body has."""
        return self._limit

    async def read(self, receive: Receive, declared_length: str | None, subject: str) -> bytes:
        """The whole body of a request.

        Args:
            receive: The ASGI receive function.
            declared_length: The header Content-Length.
            subject: Whose request it is.

        Raises:
            OverloadedError: There is no room for it now.
            BodyTooLargeError: It is longer than the limit.
            ClientGoneError: The client disconnected, or took longer than half a minute.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            self._check(subject, count)
            self._free -= count
            self._held[subject] = self._held.get(subject, 0) + count
            taken += count

        if declared_length is not None and declared_length.isdecimal():
            self._check(subject, min(int(declared_length), self._limit))
        try:
            return await read_body(receive, self._limit, declared_length, take)
        finally:
            if taken:
                self._give_back(subject, taken)

    def _check(self, subject: str, count: int) -> None:
        if count > self._free or self._held.get(subject, 0) + count > self._share:
            message = "Too many request bodies are being sent; try again later."
            raise OverloadedError(message, retry_after_seconds=_RETRY_SECONDS)

    def _give_back(self, subject: str, count: int) -> None:
        self._free += count
        left = self._held[subject] - count
        if left:
            self._held[subject] = left
        else:
            del self._held[subject]
