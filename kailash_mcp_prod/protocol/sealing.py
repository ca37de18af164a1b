"""State that goes through the client and comes back: signed, bound and with an end.

Source: the section *Server Requirements* of the page *Multi Round-Trip Requests* of MCP 2026-07-28.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

_SIGNATURE_BYTES: Final = 32
_PURPOSE: Final = b"mcp request state"
MAX_STATE_LENGTH: Final = 256 * 1024


class BadSealError(ValueError):
    """The state is not what this server gave out for this request, or it is too old."""


class Seal:
    """Signs state and takes it back.

    Args:
        secret: At least 32 bytes, the same in all replicas; by default new in each process.
        seconds: How long state is good for.
        clock: Unix time.
    """

    def __init__(
        self,
        secret: bytes | None = None,
        seconds: float = 600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Not the secret itself, which signs other things too.
        self._key = hmac.digest(secret or secrets.token_bytes(32), _PURPOSE, "sha256")
        self._seconds = seconds
        self._clock = clock

    def close(self, state: dict[str, Any], binding: bytes) -> str:
        """State as text for the client; `binding` is what it belongs to."""
        body = msgspec.json.encode([self._clock() + self._seconds, state])
        signed = self._signature(body, binding) + body
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")

    def open(self, text: str, binding: bytes) -> dict[str, Any]:
        """The state that a text of `close` holds.

        Raises:
            BadSealError: It was changed, belongs to something else, or is too old.
        """
        try:
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise BadSealError from None
        body = signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signed[:_SIGNATURE_BYTES], self._signature(body, binding)):
            raise BadSealError
        expires_at, state = msgspec.json.decode(body, type=tuple[float, dict[str, Any]])
        if self._clock() >= expires_at:
            raise BadSealError
        return state

    def _signature(self, body: bytes, binding: bytes) -> bytes:
        bound = hashlib.sha256(binding).digest()
        return hmac.digest(self._key, bound + body, "sha256")
