"""How many bytes of answers may wait for clients that do not read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol import Batch, Reply, Request, encode_error, from_server_error
from kailash_mcp_prod.transports.stopping import id_of, may_have_changed

_MOST: Final = 256 * 1024 * 1024
_SHARE: Final = 4


class UnreadBudget:
    """Counts what all clients have still to read, and what each principal has.

    Where there is no room, an answer longer than `asgi.LARGE` is replaced by an error. Others may
    tell of a write, and are kept.

    A principal with a credential has a quarter of the whole, and always room for one answer.
    Anonymous clients can't be told apart and share the whole.

    Args:
        most: The whole, in bytes.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._all = 0
        self._held: Counter[str] = Counter()

    def has_room(self, subject: str, count: int = 1) -> bool:
        """Whether as many bytes more may wait for a principal."""
        held = self._held.get(subject, 0)
        if self._all + count > self._most:
            return not self._all
        return subject == ANONYMOUS.subject or not held or held + count <= self._most // _SHARE

    @contextmanager
    def hold(self, subject: str, count: int) -> Iterator[None]:
        """Count an answer for as long as the block waits until it is read."""
        self._all += count
        self._held[subject] += count
        try:
            yield
        finally:
            self._all -= count
            self._held[subject] -= count
            if not self._held[subject]:
                del self._held[subject]


def too_much_unread(*, unknown_outcome: bool) -> OverloadedError:
    """The error in place of an answer for which there is no room."""
    message = "Too many answers wait to be read. Read them, and ask again."
    if not unknown_outcome:
        return OverloadedError(message, retry_after_seconds=1)
    return OverloadedError(
        f"{message} What a call was to change may be stored already.",
        retry_after_seconds=1,
        details={"outcome": "unknown"},
    )


def unread_reply(message: Request | Batch, request_id: str) -> Reply:
    """The same as a response."""
    error = too_much_unread(unknown_outcome=may_have_changed(message))
    return encode_error(id_of(message), from_server_error(error, request_id))
