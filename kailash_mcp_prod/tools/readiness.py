"""Whether the tools are there: who wants them waits until that is known."""

from __future__ import annotations

import asyncio

from kailash_mcp_prod.errors import UnavailableError


class Readiness:
    """Unknown until it is marked."""

    def __init__(self) -> None:
        self._known = asyncio.Event()
        self._good = False

    @property
    def is_known(self) -> bool:
        """Whether it was marked."""
        return self._known.is_set()

    @property
    def is_good(self) -> bool:
        """Whether it is known that the tools are there."""
        return self._good

    def mark(self, *, good: bool) -> None:
        """Says whether the tools are there."""
        self._good = good
        self._known.set()

    async def wait(self) -> None:
        """Waits until it is known.

        Raises:
            UnavailableError: The tools are not there.
        """
        await self._known.wait()
        if not self._good:
            raise UnavailableError("The server could not start; its log says why.")


def not_ready() -> UnavailableError:
    """The error for what comes while the server starts or stops."""
    return UnavailableError("The server is not ready. Try again.", retry_after_seconds=1)
